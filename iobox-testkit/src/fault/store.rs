//! A store whose calls get lost, come twice, or are not heard of.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Draft, MessageId},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin, Change, Discarded, Enqueue, Enqueued, Entry, FetchRequest,
        Fetched, Filter, Page, ReleaseRequest, RenewRequest, Renewed, ReplayId, ReplayProgress,
        Replayed, Selection, Settled, Settlement, Signal, Stats, Store, StoreInfo, Verdict, WakeUp,
    },
};

use super::{CrashPoint, plan::Life};

/// A store that fails as its [`Faults`](super::Faults) say; each call meets its own.
///
/// A statement inside of a transaction of the application fails before it happens, or is delayed: what
/// becomes of the transaction is decided by its COMMIT, which the application sends itself.
#[derive(Debug, Clone)]
pub struct FaultyStore<S> {
    pub(super) inner: S,
    pub(super) life: Life,
}

impl<S> FaultyStore<S> {
    pub(super) const fn new(inner: S, life: Life) -> Self {
        Self { inner, life }
    }

    /// What is inside, past the faults.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.life.call(|| self.inner.open(queue)).await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.life.reach(CrashPoint::Renewing).await;
        self.life.call(|| self.inner.renew(request)).await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        let acquired = self.life.call(|| self.inner.acquire(request)).await;
        if matches!(&acquired, Ok(Acquired::Share { granted, .. }) if !granted.is_empty()) {
            self.life.reach(CrashPoint::Granted).await;
        }
        acquired
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.life.call(|| self.inner.release(request)).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        let fetched = self.life.call(|| self.inner.fetch(request)).await;
        if matches!(&fetched, Ok(fetched) if !fetched.pending.is_empty()) {
            self.life.reach(CrashPoint::Fetched).await;
        }
        fetched
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let verdicts = || {
            settlements.iter().filter_map(|one| match &one.change {
                Change::Verdict(verdict) => Some(verdict),
                Change::Mark(_) => None,
            })
        };
        let retries = |one| matches!(one, &Verdict::Retry { .. } | &Verdict::Unknown { .. });
        if verdicts().next().is_some() {
            self.life.reach(CrashPoint::Acked).await;
        }
        if verdicts().any(retries) {
            self.life.reach(CrashPoint::Retrying).await;
        }
        if verdicts().any(|one| matches!(one, Verdict::Dead { .. })) {
            self.life.reach(CrashPoint::Burying).await;
        }
        let settled = self.life.call(|| self.inner.settle(settlements)).await;
        if verdicts().next().is_some() {
            self.life.reach(CrashPoint::Settled).await;
        }
        settled
    }

    fn settles_at_once(&self) -> usize {
        self.inner.settles_at_once()
    }

    fn signal(&self) -> &Signal {
        self.inner.signal()
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        self.inner.wake_up()
    }
}

#[async_trait]
impl<S: Enqueue> Enqueue for FaultyStore<S> {
    type Tx = S::Tx;

    async fn enqueue(&self, tx: &mut S::Tx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        let enqueued = self.life.statement(self.inner.enqueue(tx, drafts)).await;
        self.life.reach(CrashPoint::Enqueued).await;
        enqueued
    }
}

#[async_trait]
impl<S: Admin> Admin for FaultyStore<S> {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.life.call(|| self.inner.stats(queue)).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.life
            .call(|| self.inner.list(queue, filter, page))
            .await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.life.call(|| self.inner.get(queue, id)).await
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        self.life.reach(CrashPoint::Replaying).await;
        let replay = || self.inner.replay(queue, selection, dry_run);
        self.life.call(replay).await
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.life
            .call(|| self.inner.replay_progress(queue, replay))
            .await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        let discard = || self.inner.discard(queue, selection, dry_run);
        self.life.call(discard).await
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.life.reach(CrashPoint::Purging).await;
        self.life
            .call(|| self.inner.purge(queue, retention, limit))
            .await
    }
}
