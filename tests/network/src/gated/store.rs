//! A store whose calls pass the gate.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox::{
    Result,
    inbox::{Delivery, HandlerName, Received, SourceName, Subscription},
    message::{Draft, Limits, MessageId, Origin},
    queue::Queue,
    source::Position,
    store::{
        AcquireRequest, Acquired, Admin, Admitted, Discarded, Enqueue, Enqueued, Entry,
        FetchRequest, Fetched, Filter, Ingest, IngestRequest, Ingested, Page, Receive,
        ReleaseRequest, RenewRequest, Renewed, ReplayId, ReplayProgress, Replayed, Selection,
        Settled, Settlement, Signal, Stats, Store, StoreInfo, Subscribe, Transact, WakeUp,
    },
};

use crate::{gate::Gate, script::Event};

#[derive(Debug, Clone)]
pub(crate) struct GatedStore<S> {
    pub(crate) inner: S,
    pub(crate) gate: Arc<Gate>,
}

impl<S> GatedStore<S> {
    fn with(&self, inner: S) -> Self {
        let gate = Arc::clone(&self.gate);
        Self { inner, gate }
    }
}

#[async_trait]
impl<S: Store> Store for GatedStore<S> {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.inner.open(queue).await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.inner.renew(request).await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.inner.acquire(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.inner.release(request).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        if request.queue == Queue::Outbox {
            self.gate.pass(Event::Read);
        }
        self.inner.fetch(request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        self.gate.pass(Event::Write);
        self.inner.settle(settlements).await
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
impl<S: Enqueue> Enqueue for GatedStore<S> {
    type Tx = S::Tx;

    async fn enqueue(&self, tx: &mut Self::Tx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.inner.enqueue(tx, drafts).await
    }
}

#[async_trait]
impl<S: Subscribe> Subscribe for GatedStore<S> {
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        self.inner.subscribe(subscriptions).await
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        self.inner.retire(handler).await
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.inner.subscriptions().await
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        Ok(self.with(self.inner.queue_of(handler).await?))
    }
}

#[async_trait]
impl<S: Receive> Receive for GatedStore<S> {
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        self.inner.receive(source, deliveries).await
    }

    async fn receive_in(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        self.inner.receive_in(tx, source, deliveries).await
    }

    async fn unrouted(&self) -> Result<u64> {
        self.inner.unrouted().await
    }

    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64> {
        self.inner.purge_received(horizon, unrouted, limit).await
    }
}

#[async_trait]
impl<S: Ingest> Ingest for GatedStore<S> {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        Ok(self.with(self.inner.ingest_of(source).await?))
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        self.inner.position(source).await
    }

    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        self.gate.pass(Event::Commit);
        self.inner.ingest(source, request).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        self.inner.backlog(limit).await
    }
}

#[async_trait]
impl<S: Transact> Transact for GatedStore<S> {
    type Open = S::Open;

    async fn begin_handling(&self) -> Result<Self::Open> {
        self.inner.begin_handling().await
    }

    async fn mark(&self, tx: &mut Self::Tx, queue: &Self, success: &Settlement) -> Result<Settled> {
        self.inner.mark(tx, &queue.inner, success).await
    }

    async fn commit_handling(&self, open: Self::Open) -> Result<()> {
        self.gate.pass(Event::Commit);
        self.inner.commit_handling(open).await
    }

    async fn admit(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        self.inner.admit(tx, source, handler, origin, id).await
    }
}

#[async_trait]
impl<S: Admin> Admin for GatedStore<S> {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.inner.stats(queue).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.inner.list(queue, filter, page).await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.inner.get(queue, id).await
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        self.inner.replay(queue, selection, dry_run).await
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.inner.replay_progress(queue, replay).await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        self.inner.discard(queue, selection, dry_run).await
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.inner.purge(queue, retention, limit).await
    }
}
