//! Leases: who works which partition, and until when.

use std::{fmt, time::Duration};

use uuid::Uuid;

use crate::{partition::Partition, queue::Queue};

/// One process start working one queue; never used again after it was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// The instance with this UUID.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({})", self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition's acquisition; it only grows, and fences late writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Asks for more life.
#[derive(Debug, Clone)]
pub struct RenewRequest {
    /// The queue that the instance works.
    pub queue: Queue,
    /// The instance.
    pub instance: InstanceId,
    /// How long from now, by the store's clock, the instance counts as alive.
    pub ttl: Duration,
    /// Whether to register the instance: only true until the first success under this id.
    pub register: bool,
    /// How many messages the instance has in flight, for the statistics.
    pub in_flight: u32,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The instance is alive for another time-to-live.
    Alive,
    /// The instance was deleted: it drops everything and registers under a new id.
    Gone,
}

/// Asks for partitions.
#[derive(Debug, Clone)]
pub struct AcquireRequest {
    /// The queue to work.
    pub queue: Queue,
    /// The taker, which must be registered and not expired.
    pub instance: InstanceId,
    /// The partitions that the taker knows to hold, each once, with the epoch that it knows. One that
    /// the store has under the taker's name and that is missing here, or has another epoch here, was
    /// granted by a call whose reply was lost or which took effect late: the taker gets it again
    /// under a higher epoch, as abandoned, before all others and also beyond its share, so that it
    /// can work it, or hand it over properly.
    pub held: Vec<(Partition, Epoch)>,
}

/// What an acquisition brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// The taker is registered and alive.
    Share {
        /// How many partitions are its due: live instances are ranked by (start, id), the one of
        /// rank r gets `partitions / live`, and one more if `r < partitions % live`.
        share: u16,
        /// What it got now.
        granted: Vec<Grant>,
    },
    /// The taker is expired or was deleted; it got nothing.
    Gone,
}

/// A partition that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The partition.
    pub partition: Partition,
    /// Its new epoch.
    pub epoch: Epoch,
    /// Whether its last owner (or the taker himself, under a grant whose reply was lost) did not
    /// release it, and may have died executing.
    pub abandoned: bool,
}

/// Gives partitions back.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// The queue.
    pub queue: Queue,
    /// The owner.
    pub instance: InstanceId,
    /// What to give back, each under the epoch it was granted with. One that is still
    /// [`abandoned`](Grant::abandoned), since its new owner has not worked off what the dead one may
    /// have executed, is granted as abandoned again.
    pub partitions: Vec<Grant>,
    /// Whether the instance leaves the queue altogether.
    pub leave: bool,
}
