//! Fetching: the messages of a partition that are due.

use std::time::Duration;

use crate::{
    message::{Message, OrderingKey},
    partition::Partition,
    queue::Queue,
    store::Epoch,
};

/// The place of a message in its queue; visible out of commit order, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

/// How often a row has changed since it was enqueued, but for moves between pending and waiting; the
/// guard of every settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision(pub i32);

impl Revision {
    /// The revision after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Asks for messages.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The queue.
    pub queue: Queue,
    /// The partitions to look into, in the order in which they are served.
    pub partitions: Vec<FetchPartition>,
    /// The most messages to return in all. With 0 the fetch returns none, and releases and
    /// [sets aside](Fetched::aside) all the same.
    pub limit: usize,
    /// The most bytes to return in all ([`Pending::size`]); the first message comes even when it
    /// alone is larger.
    pub bytes: usize,
}

/// What to fetch of one partition.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The partition.
    pub partition: Partition,
    /// The epoch under which the caller holds it. A fetch is not fenced; what it moves is.
    pub epoch: Epoch,
    /// The most messages to return of it.
    pub limit: usize,
    /// Rows that the caller holds: in flight, buffered, being settled. They are skipped.
    pub held: Vec<Seq>,
    /// Keys that have their share of the caller's buffer. Their rows are passed over; when they
    /// alone would fill a whole fetch they are [set aside](Fetched::aside).
    pub full: Vec<OrderingKey>,
    /// Keys whose followers are set aside and may be ready: the oldest 256 waiting rows of each
    /// become pending before the fetch looks, if nothing of the key in front of them is retrying,
    /// or dead and halting.
    pub release: Vec<OrderingKey>,
    /// Whether to do the same for keys that have waiting rows and nothing in front of them, at most 64
    /// a fetch; as long as there are more, each sweep releases some.
    pub sweep: bool,
}

/// What a fetch returned.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// Messages that may run, by partition in the order of the request, then by seq.
    pub pending: Vec<Pending>,
    /// Keys of which rows became waiting, so that they do not hide the rest of their partition. What
    /// they hid comes with the next fetch.
    pub aside: Vec<Aside>,
    /// Keys of which waiting rows became pending.
    pub released: Vec<(Partition, OrderingKey)>,
    /// Partitions that hold more due rows than were returned.
    pub more: Vec<Partition>,
}

/// A message that is due.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its partition.
    pub partition: Partition,
    /// Its place in the queue.
    pub seq: Seq,
    /// The revision that a settlement must name.
    pub revision: Revision,
    /// The attempts counted so far.
    pub attempt: u32,
    /// Its ordering key, also when the rest cannot be decoded.
    pub key: Option<OrderingKey>,
    /// Whether any execution of it ever had an unknown outcome.
    pub uncertain: bool,
    /// Whether its last execution had an unknown outcome that was not counted: it runs alone.
    pub alone: bool,
    /// Whether it was marked as suspect before an execution whose outcome nobody recorded.
    pub suspect: bool,
    /// How many executions that it started alone as a suspect ended with the death of the process.
    pub crashes: u32,
    /// How long ago it was enqueued, by the store's clock.
    pub age: Duration,
    /// The bytes it takes in memory: for a message that can be decoded, its
    /// [`size`](Message::size).
    pub size: usize,
    /// The message, or why the row cannot be decoded.
    pub body: Body,
}

/// The content of a fetched row.
#[derive(Debug, Clone)]
pub enum Body {
    /// The message.
    Message(Message),
    /// The row cannot be decoded; the reason names no content.
    Corrupt(String),
}

/// Rows of one key that a fetch moved to waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Their partition.
    pub partition: Partition,
    /// Their key.
    pub key: OrderingKey,
    /// The first of them.
    pub first: Seq,
    /// How many they are, at least 1.
    pub count: usize,
}
