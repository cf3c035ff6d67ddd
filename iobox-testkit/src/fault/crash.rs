//! The crash point: a place on the way of a message at which a process may die.

/// A place at which a process dies when [`crash_at`](super::Faults::crash_at) says so.
///
/// The wrappers know all of them but [`Written`](Self::Written) and [`Committed`](Self::Committed), which
/// are in the application: it tells them by [`reach`](super::Faults::reach).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CrashPoint {
    /// CP1: the business rows are written, the message is not enqueued.
    Written,
    /// CP2: the message is enqueued, the transaction is not committed.
    Enqueued,
    /// CP3: the transaction is committed, and nobody was told.
    Committed,
    /// CP4: partitions are granted, and the reply is lost.
    Granted,
    /// CP5: messages were fetched, and nothing was done with them.
    Fetched,
    /// CP6: half of a batch is sent.
    HalfSent,
    /// CP7: a batch is sent, and no ack was seen.
    Sent,
    /// CP8: the outcome is known, and not recorded.
    Acked,
    /// CP9: the outcome is recorded, and the reply is lost.
    Settled,
    /// CP12: a renewal is about to be sent.
    Renewing,
    /// CP13: a retry is about to be recorded.
    Retrying,
    /// CP14: a dead letter is about to be recorded.
    Burying,
    /// CP15: a replay is about to be sent.
    Replaying,
    /// CP16: a purge is about to be sent.
    Purging,
    /// CP19: deliveries were read, and are not stored.
    Received,
    /// CP21: the effects of a handler are in its transaction, which is not committed.
    Handled,
    /// CP22: the transaction of a handler is committed, and the reply is lost.
    HandlingCommitted,
    /// CP23: deliveries are stored, and the broker was not told.
    Stored,
    /// CP24: the broker was told, and its answer is lost.
    AckSent,
}

impl CrashPoint {
    /// Every point, in the order in which a message meets them.
    pub const ALL: [Self; 19] = [
        Self::Written,
        Self::Enqueued,
        Self::Committed,
        Self::Granted,
        Self::Fetched,
        Self::HalfSent,
        Self::Sent,
        Self::Acked,
        Self::Settled,
        Self::Renewing,
        Self::Retrying,
        Self::Burying,
        Self::Replaying,
        Self::Purging,
        Self::Received,
        Self::Handled,
        Self::HandlingCommitted,
        Self::Stored,
        Self::AckSent,
    ];
}
