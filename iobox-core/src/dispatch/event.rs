//! Events: what the machine tells its driver for logs and metrics.

use std::time::Duration;

use crate::{
    message::{MessageId, Topic},
    partition::Partition,
    store::Seq,
};

/// Something that happened. Holds no key and no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message was executed with success.
    Executed {
        /// Whether the broker knew it already.
        duplicate: bool,
        /// From enqueue to confirmation.
        latency: Duration,
        /// Attempts, this one included.
        attempt: u32,
    },
    /// A message failed and will be run again.
    Retrying {
        /// Its partition.
        partition: Partition,
        /// Its place.
        seq: Seq,
        /// Attempts so far.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// An execution had an unknown outcome.
    Unknown {
        /// Its partition.
        partition: Partition,
        /// Its place.
        seq: Seq,
        /// Attempts so far.
        attempt: u32,
        /// Whether it counted as an attempt.
        counted: bool,
        /// Whether it is beyond the maximum of attempts and goes on at the longest backoff: a
        /// person should look.
        alarm: bool,
        /// What is known.
        reason: String,
    },
    /// An execution did not happen, through no fault of the message.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The store confirmed that a message which failed will run again.
    PutBack(Failure),
    /// The store confirmed that a message is dead.
    Dead(Failure),
    /// A partition was acquired.
    Acquired {
        /// The partition.
        partition: Partition,
        /// Whether its last owner went without releasing it.
        abandoned: bool,
    },
    /// A partition was handed over or released at a drain.
    Released {
        /// The partition.
        partition: Partition,
    },
    /// A partition was lost to another instance.
    LeaseLost {
        /// The partition.
        partition: Partition,
    },
    /// The instance was deleted, or may have been and come back, and registers anew.
    InstanceGone,
    /// The breaker opened.
    BreakerOpened,
    /// The breaker closed.
    BreakerClosed,
    /// Messages of one key were set aside behind an earlier one.
    SetAside {
        /// How many.
        count: usize,
    },
    /// A settlement met a row that an operator had changed.
    Superseded {
        /// Its partition.
        partition: Partition,
        /// Its place.
        seq: Seq,
    },
    /// A call of the store failed and is repeated.
    StoreFailed {
        /// Which call.
        call: &'static str,
        /// Why.
        reason: String,
    },
    /// An execution did not end in time at a hand-over or drain.
    Stuck {
        /// Its partition.
        partition: Partition,
        /// How many executions.
        count: usize,
    },
}

/// What the store confirmed of a message that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Its partition.
    pub partition: Partition,
    /// Its place.
    pub seq: Seq,
    /// Its id, if its row can be decoded.
    pub id: Option<MessageId>,
    /// Its topic, if its row can be decoded.
    pub topic: Option<Topic>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// Whether it is dead and its key waits for a person.
    pub halts: bool,
    /// Why.
    pub reason: String,
}
