//! The fault gate in front of the store: delays, failures before and after, hanging calls.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Store,
    memory::MemoryStore,
    message::MessageId,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin, Change, Discarded, Entry, FetchRequest, Fetched, Filter,
        Page, ReleaseRequest, RenewRequest, Renewed, ReplayId, ReplayProgress, Replayed, Selection,
        Settled, Settlement, Signal, Stats, StoreInfo, Verdict, WakeUp,
    },
};
use tokio::time::sleep;

use crate::{
    history::{Event, GrantOf, History, Kind, Process, Result as SettleResult},
    pause::Stopped,
    plan::Rates,
};

/// What every gate of a run shares.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) random: Mutex<fastrand::Rng>,
    pub(crate) rates: Rates,
    pub(crate) healed: AtomicBool,
    pub(crate) store_down: AtomicBool,
    pub(crate) broker_down: AtomicBool,
    /// The longest fault delay.
    pub(crate) longest: Duration,
}

impl Chaos {
    /// Whether something with this probability happens; never after the heal.
    pub(crate) fn strikes(&self, probability: f64) -> bool {
        let draw = self.random.lock().expect("no panic holds the lock").f64();
        !self.healed.load(Ordering::Relaxed) && draw < probability
    }

    /// A delay of at most `most`.
    pub(crate) fn delay(&self, most: Duration) -> Duration {
        let draw = self.random.lock().expect("no panic holds the lock").f64();
        most.mul_f64(draw)
    }

    pub(crate) fn healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }
}

/// The store as one process sees it.
#[derive(Clone)]
pub(crate) struct GatedStore {
    pub(crate) inner: MemoryStore,
    pub(crate) process: Process,
    pub(crate) chaos: Arc<Chaos>,
    pub(crate) history: History,
    pub(crate) stopped: Stopped,
}

impl GatedStore {
    /// Before the call reaches the store.
    async fn before(&self) -> iobox_core::Result<()> {
        self.stopped.passed().await;
        sleep(Duration::from_micros(200)).await;
        if self.chaos.strikes(self.chaos.rates.delay) {
            self.history.add(Event::Fault {
                what: "store delay before",
            });
            sleep(self.chaos.delay(Duration::from_millis(60))).await;
        }
        if self.chaos.strikes(self.chaos.rates.hang) {
            self.history.add(Event::Fault {
                what: "store hang before",
            });
            sleep(self.chaos.delay(self.chaos.longest)).await;
        }
        let down = self.chaos.store_down.load(Ordering::Relaxed);
        if down || self.chaos.strikes(self.chaos.rates.fail_before) {
            self.history.add(Event::Fault {
                what: "store fails before",
            });
            return Err(Error::unavailable("simulated: failed before"));
        }
        Ok(())
    }

    /// After the store did it, before the caller knows.
    async fn after(&self) -> iobox_core::Result<()> {
        sleep(Duration::from_micros(200)).await;
        if self.chaos.strikes(self.chaos.rates.delay) {
            self.history.add(Event::Fault {
                what: "store delay after",
            });
            sleep(self.chaos.delay(Duration::from_millis(60))).await;
        }
        if self.chaos.strikes(self.chaos.rates.hang) {
            self.history.add(Event::Fault {
                what: "store hang after",
            });
            sleep(self.chaos.delay(self.chaos.longest)).await;
        }
        self.stopped.passed().await;
        if self.chaos.strikes(self.chaos.rates.fail_after) {
            self.history.add(Event::Fault {
                what: "store reply lost",
            });
            return Err(Error::unavailable("simulated: reply lost"));
        }
        Ok(())
    }

    async fn id_of(&self, settlement: &Settlement) -> Option<String> {
        let filter = Filter {
            partition: Some(settlement.partition),
            ..Filter::default()
        };
        let page = Page {
            after: Some(iobox_core::store::Seq(settlement.seq.0 - 1)),
            limit: 1,
        };
        let entries = self.inner.list(&Queue::Outbox, &filter, page).await.ok()?;
        let entry = entries.into_iter().next()?;
        (entry.seq == settlement.seq).then_some(entry.id)
    }
}

fn kind_of(change: &Change) -> Kind {
    match change {
        Change::Verdict(Verdict::Done { .. }) => Kind::Done,
        Change::Verdict(Verdict::Retry { .. }) => Kind::Retry,
        Change::Verdict(Verdict::Unknown { .. }) => Kind::Unknown,
        Change::Verdict(Verdict::Dead { halts, .. }) => Kind::Dead { halts: *halts },
        Change::Mark(_) => Kind::Mark,
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn open(&self, queue: &Queue) -> iobox_core::Result<StoreInfo> {
        self.before().await?;
        self.inner.open(queue).await
    }

    async fn renew(&self, request: &RenewRequest) -> iobox_core::Result<Renewed> {
        self.before().await?;
        let renewed = self.inner.renew(request).await?;
        self.history.add(match renewed {
            Renewed::Alive => Event::Renewed {
                process: self.process,
                instance: request.instance,
                until: self.inner.clock().now() + request.ttl,
            },
            Renewed::Gone => Event::Gone {
                process: self.process,
            },
        });
        self.after().await?;
        Ok(renewed)
    }

    async fn acquire(&self, request: &AcquireRequest) -> iobox_core::Result<Acquired> {
        self.before().await?;
        let acquired = self.inner.acquire(request).await?;
        if let Acquired::Share { granted, .. } = &acquired
            && !granted.is_empty()
        {
            self.history.add(Event::Granted {
                process: self.process,
                instance: request.instance,
                grants: granted.iter().map(GrantOf::from).collect(),
            });
        }
        self.after().await?;
        Ok(acquired)
    }

    async fn release(&self, request: &ReleaseRequest) -> iobox_core::Result<()> {
        self.before().await?;
        self.inner.release(request).await?;
        self.history.add(Event::Released {
            process: self.process,
            instance: request.instance,
            partitions: request
                .partitions
                .iter()
                .map(|grant| grant.partition)
                .collect(),
            leave: request.leave,
        });
        self.after().await
    }

    async fn fetch(&self, request: &FetchRequest) -> iobox_core::Result<Fetched> {
        self.before().await?;
        let fetched = self.inner.fetch(request).await?;
        self.after().await?;
        Ok(fetched)
    }

    async fn settle(&self, settlements: &[Settlement]) -> iobox_core::Result<Vec<Settled>> {
        self.before().await?;
        let results = self.inner.settle(settlements).await?;
        for (settlement, result) in settlements.iter().zip(&results) {
            self.history.add(Event::Settled {
                process: self.process,
                partition: settlement.partition,
                epoch: settlement.epoch,
                seq: settlement.seq,
                kind: kind_of(&settlement.change),
                result: match result {
                    Settled::Applied => SettleResult::Applied,
                    Settled::LeaseLost => SettleResult::LeaseLost,
                    Settled::Superseded => SettleResult::Superseded,
                },
                id: self.id_of(settlement).await,
            });
        }
        self.after().await?;
        Ok(results)
    }

    fn settles_at_once(&self) -> usize {
        self.inner.settles_at_once()
    }

    fn signal(&self) -> &Signal {
        self.inner.signal()
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        None
    }
}

#[async_trait]
impl Admin for GatedStore {
    async fn stats(&self, queue: &Queue) -> iobox_core::Result<Stats> {
        self.inner.stats(queue).await
    }

    async fn list(
        &self,
        queue: &Queue,
        filter: &Filter,
        page: Page,
    ) -> iobox_core::Result<Vec<Entry>> {
        self.inner.list(queue, filter, page).await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> iobox_core::Result<Option<Entry>> {
        self.inner.get(queue, id).await
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry: bool,
    ) -> iobox_core::Result<Replayed> {
        self.inner.replay(queue, selection, dry).await
    }

    async fn replay_progress(
        &self,
        queue: &Queue,
        replay: ReplayId,
    ) -> iobox_core::Result<ReplayProgress> {
        self.inner.replay_progress(queue, replay).await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry: bool,
    ) -> iobox_core::Result<Discarded> {
        self.inner.discard(queue, selection, dry).await
    }

    async fn purge(
        &self,
        queue: &Queue,
        retention: Duration,
        limit: u32,
    ) -> iobox_core::Result<u64> {
        self.inner.purge(queue, retention, limit).await
    }
}

impl fmt::Debug for GatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedStore")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}
