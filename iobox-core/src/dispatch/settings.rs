//! The settings of the machine, checked by the builder that makes them.

use std::time::Duration;

use super::{BreakerPolicy, RetryPolicy};
use crate::queue::Queue;

/// What happens to the key of a message that is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeadLetterPolicy {
    /// Later messages of the key wait until a person replays or discards the dead one.
    #[default]
    HaltKey,
    /// Later messages of the key go on. A message that ever had an unknown outcome halts its key
    /// all the same, since a copy of it may still arrive.
    Skip,
}

/// Everything that the machine needs to know. Values are valid: builders check them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The queue to work.
    pub queue: Queue,
    /// The most rows of a settle, and of one execution.
    pub batch: usize,
    /// The most rows of a fetch.
    pub fetch: usize,
    /// The most messages in flight.
    pub max_in_flight: usize,
    /// The most bytes of messages in memory; one message more may be there.
    pub max_buffered_bytes: usize,
    /// How long the instance lives without a renewal.
    pub ttl: Duration,
    /// How long one execution may take.
    pub execute_timeout: Duration,
    /// Whether an execution may outlast the lease (handlers) or must fit into it (publishes).
    pub spans_renewals: bool,
    /// The most settles under way.
    pub settles: usize,
    /// How long one settle may take.
    pub settle_timeout: Duration,
    /// How long outcomes wait for others to be settled with, unless another settle is under way.
    pub settle_linger: Duration,
    /// The shortest pause between two empty fetches.
    pub poll_min: Duration,
    /// The longest pause between two empty fetches.
    pub poll_max: Duration,
    /// When to run a failed message again.
    pub retry: RetryPolicy,
    /// When to stop sending.
    pub breaker: BreakerPolicy,
    /// What a dead message does to its key.
    pub policy: DeadLetterPolicy,
    /// After how many crashes a message that runs alone is dead.
    pub max_crashes: u32,
    /// How long in-flight messages may take at a drain.
    pub grace: Duration,
    /// Whether the queue is a right and nothing else: partitions are held, and nothing is fetched.
    pub rights_only: bool,
    /// The protocol bug that is planted.
    #[cfg(iobox_bugs)]
    pub bug: Option<super::Bug>,
}

impl Settings {
    /// The defaults for `queue`.
    #[must_use]
    pub const fn new(queue: Queue) -> Self {
        Self {
            queue,
            batch: 1_000,
            fetch: 1_000,
            max_in_flight: 1_000,
            max_buffered_bytes: 32 * 1024 * 1024,
            ttl: Duration::from_secs(10),
            execute_timeout: Duration::from_secs(4),
            spans_renewals: false,
            settles: 4,
            settle_timeout: Duration::from_secs(2),
            settle_linger: Duration::from_millis(2),
            poll_min: Duration::from_millis(5),
            poll_max: Duration::from_secs(1),
            retry: RetryPolicy::DEFAULT,
            breaker: BreakerPolicy::DEFAULT,
            policy: DeadLetterPolicy::HaltKey,
            max_crashes: 3,
            grace: Duration::from_secs(10),
            rights_only: false,
            #[cfg(iobox_bugs)]
            bug: None,
        }
    }

    /// The most rows in memory: in flight, waiting to be settled, and two fetches ahead. No more are asked
    /// for, whatever is under way: a memory that is empty has room for fetches of all of it.
    pub(super) const fn capacity(&self) -> usize {
        self.max_in_flight + self.batch + 2 * self.fetch
    }

    /// How often the instance renews.
    pub(super) fn renew_interval(&self) -> Duration {
        self.ttl / 5
    }
}
