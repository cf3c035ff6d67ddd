//! What a database implements: leases, fetching, settling, enqueueing, administration.
//!
//! Three rules hold for every method of every trait here:
//!
//! * Durations cross the trait, never instants: the store adds them to its own clock, so that
//!   instances with wrong clocks cannot disagree. Times in what a person selects are of that clock.
//! * A future that is dropped leaves the call done or not done, never half done; every call may be
//!   repeated.
//! * An error of kind [`Unavailable`](crate::ErrorKind::Unavailable) leaves open whether the call
//!   took effect. One of kind [`Conflict`](crate::ErrorKind::Conflict) says that the database wants the
//!   transaction to be run again: a call that has opened it may do so itself, and should where it is seldom.
//!
//! A handle is of one queue: a call that names another is [`Invalid`](crate::ErrorKind::Invalid).

mod admin;
mod enqueue;
mod fetch;
mod inbox;
mod ingest;
mod lease;
mod settle;
mod shared;
mod signal;
mod wake;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use admin::{
    Admin, Discarded, Entry, Filter, InstanceStats, Page, PartitionStats, ReplayId, ReplayProgress,
    Replayed, Selection, State, Stats,
};
pub use enqueue::{Enqueue, Enqueued};
pub use fetch::{Aside, Body, FetchPartition, FetchRequest, Fetched, Pending, Revision, Seq};
pub use inbox::{Admitted, Receive, Subscribe, Transact};
pub use ingest::{Ingest, IngestRequest, Ingested};
pub use lease::{
    AcquireRequest, Acquired, Epoch, Grant, InstanceId, ReleaseRequest, RenewRequest, Renewed,
};
pub use settle::{Change, Mark, Settled, Settlement, Verdict};
pub use signal::{Hint, Listener, Signal};
pub use wake::{Armed, WakeUp};

use crate::{Result, message::Origin, partition::Partitions, queue::Queue};

/// What a store says of itself when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreInfo {
    /// The origin of its outbox.
    pub origin: Origin,
    /// The number of partitions of its tables.
    pub partitions: Partitions,
}

/// The durable side of a queue, as the [relay](crate::relay) uses it.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Verifies that the tables are there, of the version that this program knows, and of the
    /// partition count that it was configured with.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the store was not migrated (the message says
    /// "run migrate"), is newer than the program, or has another partition count.
    async fn open(&self, queue: &Queue) -> Result<StoreInfo>;

    /// Extends the life of an instance, or registers it.
    ///
    /// Renewing an expired instance that nobody deleted succeeds. Nothing else is written. It takes a path
    /// on which no other call can hold it up, however many handlers have transactions open: a renewal that
    /// comes late is a lost lease.
    async fn renew(&self, request: &RenewRequest) -> Result<Renewed>;

    /// Deletes expired instances, computes the caller's share, and takes free partitions up to it.
    ///
    /// Each partition taken gets a higher epoch, also when the same instance takes it again. Two
    /// instances never hold the same partition under the same epoch.
    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired>;

    /// Gives partitions back, and with `leave` the instance's own row. What the instance does not
    /// hold under the given epoch is left alone.
    async fn release(&self, request: &ReleaseRequest) -> Result<()>;

    /// Returns messages that are due, oldest first within each partition, at most as many and as
    /// large as asked for, without those that the request names as held.
    ///
    /// A message with an earlier one of its key retrying, waiting, or dead and halting is never
    /// among the [pending](Fetched::pending), which come from one snapshot. Where such messages, or
    /// those of [full](FetchPartition::full) keys, are in the way, the fetch makes them waiting,
    /// under the fence: of each key that it names in [`Fetched::aside`] all that are due and not held,
    /// the oldest first, but no more than about a thousand of a partition. A caller that never saw the
    /// reply finds them by a sweep.
    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched>;

    /// Records what became of messages. The results stand in the order of the settlements.
    ///
    /// The settlements of one partition are applied all or none: none when the caller no longer
    /// holds it under their epoch. Repeating a settlement whose reply was lost changes nothing and
    /// reports [`Applied`](Settled::Applied) again.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>>;

    /// How many settles gain from being under way at the same time, at least 1; the caller sends no
    /// more. A store with one writer says 1, so that the caller sends few and large ones.
    fn settles_at_once(&self) -> usize {
        1
    }

    /// The signal that an application in the same process gives after its COMMIT.
    fn signal(&self) -> &Signal;

    /// How an idle instance can be woken by other processes; `None` when it can only poll.
    fn wake_up(&self) -> Option<Arc<dyn WakeUp>>;
}
