//! The in-memory store.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use uuid::Uuid;

use super::{MemoryClock, inbox::Mailroom, table::Table};
use crate::{
    Error, Result,
    dispatch::Bug,
    message::{IdSource, Limits, MessageId, Origin, RandomIds},
    partition::{Partition, Partitions},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Epoch, FetchRequest, Fetched, ReleaseRequest, RenewRequest,
        Renewed, Settled, Settlement, Signal, State, Store, StoreInfo, WakeUp,
    },
};

/// A [`Store`] in memory. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) partitions: Partitions,
    pub(super) limits: Limits,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) clock: MemoryClock,
    pub(super) signal: Signal,
    pub(super) mailroom: Mutex<Mailroom>,
    pub(super) queue: Queue,
    pub(super) table: Mutex<Table>,
}

impl MemoryStore {
    /// An empty store with this many partitions.
    #[must_use]
    pub fn new(partitions: Partitions) -> Self {
        Self::with(partitions, MemoryClock::system(), Arc::new(RandomIds))
    }

    /// An empty store with a clock and ids of the caller's.
    #[must_use]
    pub fn with(partitions: Partitions, clock: MemoryClock, ids: Arc<dyn IdSource>) -> Self {
        let table = Table::new(partitions);
        let origin: Uuid = ids.draw();
        Self {
            shared: Arc::new(Shared {
                origin: Origin::new(origin),
                partitions,
                limits: Limits::default(),
                ids,
                clock,
                signal: Signal::new(),
                mailroom: Mutex::default(),
                queue: Queue::Outbox,
                table: Mutex::new(table),
            }),
        }
    }

    /// The store of another queue, with the same clock, origin and limits.
    pub(super) fn another(&self, queue: Queue, partitions: Partitions) -> Self {
        let shared = &self.shared;
        #[cfg_attr(not(iobox_bugs), allow(unused_mut, reason = "the twin plants a bug"))]
        let mut table = Table::new(partitions);
        #[cfg(iobox_bugs)]
        {
            table.bug = self.table().bug;
        }
        Self {
            shared: Arc::new(Shared {
                origin: shared.origin,
                partitions,
                limits: shared.limits,
                ids: Arc::clone(&shared.ids),
                clock: shared.clock.clone(),
                signal: Signal::new(),
                mailroom: Mutex::default(),
                queue,
                table: Mutex::new(table),
            }),
        }
    }

    /// Refuses a queue that this store is not of.
    pub(super) fn known(&self, queue: &Queue) -> Result<()> {
        if *queue == self.shared.queue {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "queue {queue} is not that of this store, which is {}; `queue_of` gives the store of a handler",
            self.shared.queue
        )))
    }

    /// Plants a protocol bug of the store.
    #[cfg(iobox_bugs)]
    pub fn plant(&self, bug: Bug) {
        self.table().bug = Some(bug);
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &MemoryClock {
        &self.shared.clock
    }

    /// Makes the message with this id one that cannot be decoded, for tests.
    pub fn corrupt(&self, id: &MessageId, reason: &str) {
        let mut table = self.table();
        if let Some(place) = table.place_of(id) {
            table.change(place, |row| row.corrupt = Some(reason.to_owned()));
        }
    }

    /// The owner and epoch of a partition, for tests.
    #[must_use]
    pub fn epoch_of(&self, partition: Partition) -> Option<Epoch> {
        self.table().slots.get(&partition).map(|slot| slot.epoch)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.clock.now()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("origin", &self.shared.origin)
            .field("partitions", &self.shared.partitions.count())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.known(queue)?;
        Ok(StoreInfo {
            origin: self.shared.origin,
            partitions: self.shared.partitions,
        })
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.known(&request.queue)?;
        Ok(self.table().renew(request, self.now()))
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.known(&request.queue)?;
        Ok(self.table().acquire(request, self.now()))
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.known(&request.queue)?;
        self.table().give_back(request);
        Ok(())
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        self.known(&request.queue)?;
        Ok(self.table().fetch(request, self.now()))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let now = self.now();
        let mut table = self.table();
        let twice = table.has(Bug::SettledTwice);
        let held: Vec<bool> = settlements
            .iter()
            .map(|s| table.is_current(s.partition, s.epoch))
            .collect();
        settlements
            .iter()
            .zip(held)
            .map(|(settlement, held)| {
                if !held {
                    return Ok(Settled::LeaseLost);
                }
                let place = (settlement.partition, settlement.seq);
                if table.get(place).is_none() {
                    return Ok(Settled::Superseded);
                }
                table
                    .change(place, |row| {
                        if twice {
                            (row.revision, row.state) = (settlement.revision, State::Pending);
                        }
                        row.settle(settlement, now)
                    })
                    .ok_or_else(|| Error::internal("a row vanished under the lock"))
            })
            .collect()
    }

    /// Nothing is gained, but programs that are tested on it meet what a database does.
    fn settles_at_once(&self) -> usize {
        4
    }

    fn signal(&self) -> &Signal {
        &self.shared.signal
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        None
    }
}
