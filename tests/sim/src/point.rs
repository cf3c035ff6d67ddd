//! Crash points: the places at which a process may die, one after the other on the way of a message.

/// A place at which whoever is there may die. The numbers are those of the list of crash points; the
/// eighteenth, half of a migration, has nothing to be simulated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Point {
    /// CP1: a producer, after its business write and before the enqueue.
    Enqueue,
    /// CP2: a producer, after the enqueue and before COMMIT.
    Commit,
    /// CP3: a producer whose COMMIT took effect and who did not hear so.
    Committed,
    /// CP4: partitions were granted, and the reply is lost.
    Granted,
    /// CP5: messages were fetched, nothing is sent yet.
    Fetched,
    /// CP6: some of a batch are sent.
    MidBatch,
    /// CP7: the broker has it and did not say so yet.
    Taken,
    /// CP8: the broker said so, nothing is settled.
    Acked,
    /// CP9: a settle took effect, and the reply is lost.
    Settled,
    /// CP10: a settle was sent and never arrives.
    Settling,
    /// CP11: a settle of several rows is on the way, and takes effect as a whole or not at all.
    MidSettle,
    /// CP12: a renewal is on the way.
    Renewing,
    /// CP13: a retry is being recorded.
    Retrying,
    /// CP14: a dead letter is being recorded.
    Burying,
    /// CP15: a replay is on the way.
    Replaying,
    /// CP16: a purge is on the way.
    Purging,
    /// CP17: a drain is under way.
    Draining,
    /// CP19: a batch was read, and the store knows nothing of it.
    Received,
    /// CP20: a batch was sent to the store, and its transaction is open.
    Storing,
    /// CP21: a handler's effects are in its transaction, which is not committed.
    Marking,
    /// CP22: a handler's COMMIT took effect, and the reply is lost.
    Marked,
    /// CP23: a batch is committed, and the broker does not know.
    Acking,
    /// CP24: the broker knows, and did not say so.
    AckTaken,
    /// CP25: marks are being forgotten while messages arrive.
    Forgetting,
}

impl Point {
    /// All of them, with their numbers.
    pub(crate) const ALL: [(Self, &'static str); 24] = [
        (Self::Enqueue, "CP1 before the enqueue"),
        (Self::Commit, "CP2 before COMMIT"),
        (Self::Committed, "CP3 COMMIT, reply lost"),
        (Self::Granted, "CP4 acquired, reply lost"),
        (Self::Fetched, "CP5 fetched, not sent"),
        (Self::MidBatch, "CP6 within a batch"),
        (Self::Taken, "CP7 taken, not acked"),
        (Self::Acked, "CP8 acked, not settled"),
        (Self::Settled, "CP9 settled, reply lost"),
        (Self::Settling, "CP10 settle lost"),
        (Self::MidSettle, "CP11 settle of several rows"),
        (Self::Renewing, "CP12 renewal"),
        (Self::Retrying, "CP13 retry being recorded"),
        (Self::Burying, "CP14 dead letter being recorded"),
        (Self::Replaying, "CP15 replay"),
        (Self::Purging, "CP16 purge"),
        (Self::Draining, "CP17 drain"),
        (Self::Received, "CP19 read, not stored"),
        (Self::Storing, "CP20 being stored"),
        (Self::Marking, "CP21 effects, no COMMIT"),
        (Self::Marked, "CP22 handler's COMMIT, reply lost"),
        (Self::Acking, "CP23 stored, not acked"),
        (Self::AckTaken, "CP24 ack, reply lost"),
        (Self::Forgetting, "CP25 marks being forgotten"),
    ];
}
