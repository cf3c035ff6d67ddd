//! Administration: looking at messages, putting them back, closing them, removing old ones.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{
    Result,
    message::{MessageId, OrderingKey, Topic},
    partition::Partition,
    queue::Queue,
    store::{Body, Epoch, InstanceId, Seq},
};

/// What a person may do with a queue.
#[async_trait]
pub trait Admin: Send + Sync + fmt::Debug {
    /// Counts the queue. Costs a scan of the rows that are not settled, never of the history.
    async fn stats(&self, queue: &Queue) -> Result<Stats>;

    /// Lists messages by seq, without their payloads.
    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>>;

    /// One message with its payload, or `None`.
    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>>;

    /// Puts dead, discarded or done messages back to pending, with no attempts, oldest first, at
    /// most 10,000 a call.
    ///
    /// With `dry_run` nothing is changed and the counts say what would be.
    async fn replay(&self, queue: &Queue, selection: &Selection, dry_run: bool)
    -> Result<Replayed>;

    /// How far a replay got, and how much of it the broker absorbed as duplicates.
    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress>;

    /// Closes dead, waiting, retrying or pending messages for ever, oldest first, at most 10,000 a
    /// call. A message that is being published at the moment may still arrive.
    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded>;

    /// Removes done and discarded messages that were settled longer ago than `retention`, at most
    /// `limit`. Returns how many.
    ///
    /// Before that it forgets ids that callers brought: those of messages that an earlier purge
    /// removed and that were enqueued longer ago than `retention`, at most `limit`. Until then a
    /// message with such an id is a [`Duplicate`](crate::store::Enqueued::Duplicate).
    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64>;
}

/// The state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum State {
    /// Ready to run, or running.
    Pending,
    /// Failed before, due later.
    Retrying,
    /// Set aside behind an earlier message of its key.
    Waiting,
    /// Given up on; leaves this state by replay or discard alone.
    Dead,
    /// Executed.
    Done,
    /// Closed by a person.
    Discarded,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Retrying,
        Self::Waiting,
        Self::Dead,
        Self::Done,
        Self::Discarded,
    ];

    /// Its code in tables.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Retrying => 1,
            Self::Waiting => 2,
            Self::Dead => 3,
            Self::Done => 4,
            Self::Discarded => 5,
        }
    }

    /// The state with this code.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        usize::try_from(code)
            .ok()
            .and_then(|at| Self::ALL.get(at).copied())
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counts of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Messages ready to run or running.
    pub pending: u64,
    /// Messages that failed and are due later.
    pub retrying: u64,
    /// Messages set aside.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Keys with a dead message that halts them.
    pub halted_keys: u64,
    /// The age of the oldest message that is pending, retrying or waiting, by the store's clock.
    pub oldest_pending_age: Option<Duration>,
    /// Each partition in order.
    pub partitions: Vec<PartitionStats>,
    /// Each live instance, oldest first.
    pub instances: Vec<InstanceStats>,
}

impl Stats {
    /// How many messages have not come to their end: pending, retrying and waiting.
    #[must_use]
    pub const fn unsettled(&self) -> u64 {
        self.pending + self.retrying + self.waiting
    }
}

/// Who works a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionStats {
    /// The partition.
    pub partition: Partition,
    /// Its owner, if it has one.
    pub owner: Option<InstanceId>,
    /// Its epoch.
    pub epoch: Epoch,
}

/// A live instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceStats {
    /// The instance.
    pub instance: InstanceId,
    /// How many messages it had in flight at its last renewal.
    pub in_flight: u32,
    /// How long it has been registered.
    pub age: Duration,
    /// How long it still lives without a renewal; zero when it is expired.
    pub expires_in: Duration,
}

/// Which messages; empty fields match everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only messages in these states; empty means all.
    pub states: Vec<State>,
    /// Only messages of this topic.
    pub topic: Option<Topic>,
    /// Only messages of this key.
    pub key: Option<OrderingKey>,
    /// Only messages of this partition.
    pub partition: Option<Partition>,
}

/// A page of a listing.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only messages behind this seq.
    pub after: Option<Seq>,
    /// The most entries, 1 to 1,000.
    pub limit: u16,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            after: None,
            limit: 100,
        }
    }
}

/// Which messages to replay or discard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Selection {
    /// The one with this id.
    One(MessageId),
    /// Those that match. For a replay without states: the dead ones.
    Matching(Filter),
    /// Those that were published in a span of time by the store's clock: for a broker that forgot.
    PublishedSince {
        /// At this time or later.
        since: SystemTime,
        /// At this time or before; `None` means the time of the call. What a replay puts back is
        /// published again, later than that.
        until: Option<SystemTime>,
    },
}

impl Selection {
    /// Those that were published at `since` or later, up to the time of the call.
    #[must_use]
    pub const fn published_since(since: SystemTime) -> Self {
        Self::PublishedSince { since, until: None }
    }
}

/// A message as a person sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its partition.
    pub partition: Partition,
    /// Its place in the queue.
    pub seq: Seq,
    /// Its state.
    pub state: State,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<OrderingKey>,
    /// Attempts counted.
    pub attempt: u32,
    /// Whether it ever had an unknown outcome.
    pub uncertain: bool,
    /// Whether it is dead and halts its key.
    pub halts: bool,
    /// Why its last execution failed.
    pub reason: Option<String>,
    /// When it was enqueued, by the store's clock.
    pub enqueued_at: SystemTime,
    /// When it was settled, by the store's clock.
    pub settled_at: Option<SystemTime>,
    /// The payload and headers, for [`Admin::get`] alone.
    pub body: Option<Body>,
}

impl Entry {
    /// An entry with the fields that every row has; the rest is set by assignment.
    #[must_use]
    pub const fn new(
        id: String,
        partition: Partition,
        seq: Seq,
        state: State,
        topic: String,
        enqueued_at: SystemTime,
    ) -> Self {
        Self {
            id,
            partition,
            seq,
            state,
            topic,
            key: None,
            attempt: 0,
            uncertain: false,
            halts: false,
            reason: None,
            enqueued_at,
            settled_at: None,
            body: None,
        }
    }
}

/// The number of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayId(pub i64);

/// What a replay did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The number to ask [`Admin::replay_progress`] with; `None` for a dry run or when nothing
    /// matched.
    pub replay: Option<ReplayId>,
    /// How many messages were put back.
    pub count: u64,
    /// How many of them come after later messages of their key that are done already: consumers see
    /// them out of order.
    pub out_of_order: u64,
    /// Whether more match than one call takes; call again, with [`rest`](Self::rest).
    pub more: bool,
    /// The end of the span of a [`Selection::PublishedSince`], by the store's clock.
    pub until: Option<SystemTime>,
}

impl Replayed {
    /// What to call with again, or `None` when nothing more matches.
    ///
    /// The span of [`Selection::PublishedSince`] ends where it ended in the first call, so that what
    /// is published again meanwhile does not match again. A selection by filter stays as it is: with
    /// the states dead or done it matches again what came back to them since.
    ///
    /// ```no_run
    /// # use iobox_core::{Result, queue::Queue, store::{Admin, Selection}};
    /// # async fn repair(store: &dyn Admin, since: std::time::SystemTime) -> Result<()> {
    /// let mut next = Some(Selection::published_since(since));
    /// while let Some(selection) = next {
    ///     let replayed = store.replay(&Queue::Outbox, &selection, false).await?;
    ///     next = replayed.rest(selection);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn rest(&self, selection: Selection) -> Option<Selection> {
        self.more.then(|| match selection {
            Selection::PublishedSince { since, until } => Selection::PublishedSince {
                since,
                until: until.or(self.until),
            },
            other => other,
        })
    }
}

/// How far a replay got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayProgress {
    /// Messages of the replay that are not settled yet.
    pub unsettled: u64,
    /// Messages that are done again.
    pub published: u64,
    /// Those of them that the broker knew already and absorbed.
    pub absorbed: u64,
    /// Messages that are dead again.
    pub dead: u64,
}

/// What a discard did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discarded {
    /// How many messages were closed.
    pub count: u64,
    /// Whether more match than one call takes; call again.
    pub more: bool,
}
