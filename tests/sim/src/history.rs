//! The history: an append-only record of what happened, the only thing that the checker reads.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use iobox_core::{
    partition::Partition,
    store::{Epoch, Grant, InstanceId, Revision, Seq, State},
};
use tokio::time::Instant;

use crate::point::Point;

/// The number of a simulated process; a restart is another one.
pub(crate) type Process = u32;
/// The id of a message, as the producer gave it.
pub(crate) type Id = String;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Processes, faults.
    World,
    /// The outbox that relays work.
    Outbox,
    /// The stream between the two, and how it is read.
    Ingest,
    /// The queue of a handler.
    Handler(u8),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A transaction that holds messages was committed, in this order.
    Committed { ids: Vec<Id>, key: Option<String> },
    /// A transaction was rolled back.
    RolledBack { ids: Vec<Id> },
    /// A process started.
    Started { process: Process },
    /// A process was killed.
    Crashed { process: Process },
    /// Somebody died at this place; a process is [crashed](Self::Crashed) then.
    Killed { process: Process, at: Point },
    /// A process stood still from here on.
    Paused { process: Process },
    /// It goes on.
    Resumed { process: Process },
    /// A process was told to drain.
    DrainAsked { process: Process },
    /// A process ended by itself.
    Drained { process: Process },
    /// An instance was renewed until this time of the store's clock.
    Renewed {
        process: Process,
        instance: InstanceId,
        until: Duration,
    },
    /// A renewal found no row.
    Gone { process: Process },
    /// Partitions were granted.
    Granted {
        process: Process,
        instance: InstanceId,
        grants: Vec<GrantOf>,
        /// By the store's clock.
        now: Duration,
    },
    /// Partitions were given back, perhaps with the row of the instance.
    Released {
        process: Process,
        instance: InstanceId,
        partitions: Vec<Partition>,
        leave: bool,
    },
    /// A settlement was answered by the store.
    Settled {
        process: Process,
        partition: Partition,
        epoch: Epoch,
        seq: Seq,
        /// That the row had, or would have had.
        revision: Revision,
        kind: Kind,
        result: Result,
        id: Option<Id>,
    },
    /// A process handed a message to the broker.
    Sent {
        process: Process,
        id: Id,
        key: Option<String>,
    },
    /// The broker took a message; `new` is false when it knew it.
    Accepted { id: Id, new: bool },
    /// A process gave up on a message without an outcome: dropped, timed out, or never reported.
    Ended { process: Process, id: Id },
    /// The publisher reported an outcome.
    Outcome {
        process: Process,
        id: Id,
        outcome: Reply,
    },
    /// The operator put a dead message back.
    Replayed { id: Id, out_of_order: bool },
    /// The operator closed a message.
    Discarded { id: Id },
    /// Settled rows were removed.
    Purged { ids: Vec<Id> },
    /// The broker's log got a new entry.
    Logged {
        id: Id,
        key: Option<String>,
        topic: String,
    },
    /// Handlers were subscribed.
    Subscribed { handlers: Vec<u8> },
    /// A batch was stored together with the position behind it.
    Stored {
        process: Process,
        epoch: Epoch,
        from: usize,
        to: usize,
        /// Each arrival, and whether it was new.
        arrivals: Vec<(Id, bool)>,
        /// By the store's clock.
        now: Duration,
    },
    /// A batch was refused, since its reader has no right to read any more.
    NotStored { process: Process },
    /// The broker was told that the log is stored up to here.
    BrokerAcked { upto: usize },
    /// An effect of a handler that was found at the end.
    Effect { id: Id },
    /// How many messages are kept as unrouted at the end.
    Unrouted { count: u64 },
    /// A fault was injected.
    Fault { what: &'static str },
    /// No fault is injected from here on.
    Healed,
    /// A row at the end.
    Row {
        id: Id,
        state: State,
        attempt: u32,
        halts: bool,
        uncertain: bool,
        partition: Partition,
        key: Option<String>,
        seq: Seq,
    },
}

/// A grant, hashable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GrantOf {
    pub(crate) partition: Partition,
    pub(crate) epoch: Epoch,
    pub(crate) abandoned: bool,
}

impl From<&Grant> for GrantOf {
    fn from(grant: &Grant) -> Self {
        Self {
            partition: grant.partition,
            epoch: grant.epoch,
            abandoned: grant.abandoned,
        }
    }
}

/// The kind of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Done,
    Retry,
    Unknown,
    Dead {
        halts: bool,
    },
    /// A mark of a suspect, and the crashes that it records.
    Mark {
        crashes: u32,
    },
    /// A mark is taken back.
    Clear,
}

/// What the store said of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Result {
    Applied,
    LeaseLost,
    Superseded,
}

/// What the publisher reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Ok,
    Transient,
    Permanent,
    Unavailable,
    Unknown,
}

/// One event with its time since the start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) lane: Lane,
    pub(crate) event: Event,
}

/// The record of one run. Clones append to the same record.
#[derive(Debug, Clone)]
pub(crate) struct History {
    start: Instant,
    lane: Lane,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            lane: Lane::World,
            entries: Arc::default(),
        }
    }

    /// The same record, for what is about `lane`.
    pub(crate) fn of(&self, lane: Lane) -> Self {
        Self {
            lane,
            ..self.clone()
        }
    }

    pub(crate) fn add(&self, event: Event) {
        let (at, lane) = (self.start.elapsed(), self.lane);
        self.entries
            .lock()
            .expect("no panic holds the lock")
            .push(Entry { at, lane, event });
    }

    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().expect("no panic holds the lock"))
    }

    pub(crate) fn faults(&self) -> usize {
        self.entries
            .lock()
            .expect("no panic holds the lock")
            .iter()
            .filter(|entry| {
                matches!(
                    entry.event,
                    Event::Fault { .. }
                        | Event::Crashed { .. }
                        | Event::Killed { .. }
                        | Event::Paused { .. }
                        | Event::DrainAsked { .. }
                )
            })
            .count()
    }
}

/// A hash of a whole history.
pub(crate) fn hash(entries: &[Entry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    hasher.finish()
}
