//! An owner: one machine, with ids that a copy of it draws again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iobox_core::{
    dispatch::{Bug, DeadLetterPolicy, Machine, RetryPolicy, Settings, Time},
    message::IdSource,
    queue::Queue,
};

/// How long time passes at once: longer than a renewal may wait, and a part of the lease.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The time-to-live of a lease.
pub(super) const TTL: Duration = Duration::from_secs(4);

/// A machine in its process.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) machine: Machine,
    ids: Arc<Ids>,
}

/// Ids in a row, apart from those of others.
#[derive(Debug)]
struct Ids {
    of: u64,
    next: AtomicU64,
}

impl IdSource for Ids {
    fn draw(&self) -> uuid::Uuid {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        uuid::Uuid::from_u64_pair(self.of, number)
    }
}

fn settings(bug: Option<Bug>) -> Settings {
    let mut settings = Settings::new(Queue::Outbox);
    settings.batch = 16;
    settings.fetch = 16;
    settings.max_in_flight = 3;
    settings.settles = 1;
    settings.ttl = TTL;
    settings.execute_timeout = Duration::from_secs(1);
    settings.settle_timeout = Duration::from_millis(500);
    // No time passes while there is anything else to do.
    settings.settle_linger = Duration::ZERO;
    // Rows that nobody hinted at are looked for once a lease.
    settings.poll_min = TTL;
    settings.poll_max = TTL;
    let millisecond = Duration::from_millis(1);
    settings.retry = RetryPolicy::new(millisecond, millisecond, 3).expect("it is valid");
    settings.policy = DeadLetterPolicy::HaltKey;
    settings.grace = Duration::from_secs(1);
    if let Some(bug) = bug {
        settings.plant(bug);
    }
    settings
}

impl Owner {
    pub(super) fn new(of: usize, bug: Option<Bug>) -> Self {
        let of = u64::try_from(of).expect("few owners") + 1;
        let next = AtomicU64::new(0);
        let ids = Arc::new(Ids { of, next });
        let random = fastrand::Rng::with_seed(of);
        let shared: Arc<dyn IdSource> = Arc::<Ids>::clone(&ids);
        Self {
            machine: Machine::new(settings(bug), shared, random, Time::default()),
            ids,
        }
    }

    /// A copy that goes its own way.
    pub(super) fn fork(&self) -> Self {
        let next = AtomicU64::new(self.ids.next.load(Ordering::Relaxed));
        let ids = Arc::new(Ids {
            of: self.ids.of,
            next,
        });
        let shared: Arc<dyn IdSource> = Arc::<Ids>::clone(&ids);
        Self {
            machine: self.machine.fork(shared),
            ids,
        }
    }

    /// Everything that what it does next depends on.
    pub(super) fn state(&self) -> String {
        format!("{:?} {}", self.ids.next, self.machine.state())
    }
}
