//! Settling: recording what became of a message.

use std::time::Duration;

use crate::{
    partition::Partition,
    store::{Epoch, Revision, Seq},
};

/// One change of one row, fenced by the epoch and guarded by the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The partition of the row.
    pub partition: Partition,
    /// The epoch under which the caller holds the partition.
    pub epoch: Epoch,
    /// The row.
    pub seq: Seq,
    /// The revision that the row must have; the change raises it by one.
    pub revision: Revision,
    /// The attempts to record: an absolute number, so that repeating adds nothing.
    pub attempt: u32,
    /// What to record.
    pub change: Change,
}

/// What a settlement records. Applies to rows that are pending, retrying, or waiting: a fetch that
/// its caller gave up may set a row aside after a later one returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The outcome of an execution. Clears the mark of a suspect.
    Verdict(Verdict),
    /// A note before or instead of an execution; the row stays in its state.
    Mark(Mark),
}

/// The outcome of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded: to `done`.
    Done {
        /// Whether the broker knew the message already.
        duplicate: bool,
    },
    /// It failed and may succeed later: to `retrying`, due after the delay.
    Retry {
        /// When it is due, from now, by the store's clock.
        after: Duration,
        /// Why it failed.
        reason: String,
    },
    /// Nobody knows whether it happened: to `retrying`, and uncertain for ever.
    Unknown {
        /// When it is due, from now, by the store's clock.
        after: Duration,
        /// What is known.
        reason: String,
        /// Whether the outcome was not counted as an attempt, so that the next execution is alone.
        alone: bool,
    },
    /// It will never succeed: to `dead`.
    Dead {
        /// Why.
        reason: String,
        /// Whether later messages of its key wait for a person; without a key nothing does.
        halts: bool,
        /// Whether an execution of it may have succeeded all the same: uncertain for ever.
        uncertain: bool,
    },
}

/// A note on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is about to be executed, and is a suspect until it is settled.
    Suspect {
        /// The crashes to record: an absolute number, raised by one when the execution is alone, so
        /// that a crash is this message's doing; an outcome sets it back to zero.
        crashes: u32,
    },
    /// It was not executed after all: no suspect any more.
    Clear {
        /// The crashes to record.
        crashes: u32,
    },
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// The change is recorded, now or by an earlier call whose reply was lost.
    Applied,
    /// The caller does not hold the partition under that epoch; nothing of it was changed.
    LeaseLost,
    /// The row has changed since, by an operator for example; it was left as it is.
    Superseded,
}
