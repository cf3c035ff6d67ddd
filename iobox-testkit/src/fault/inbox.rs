//! The inbox half of a store that fails.

use std::time::Duration;

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::{Delivery, HandlerName, Received, SourceName, Subscription},
    message::{Limits, MessageId, Origin},
    source::Position,
    store::{
        Admitted, Ingest, IngestRequest, Ingested, Receive, Settled, Settlement, Subscribe,
        Transact,
    },
};

use super::{CrashPoint, Fault, FaultyStore, plan::lost};

#[async_trait]
impl<S: Subscribe> Subscribe for FaultyStore<S> {
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        self.life.call(|| self.inner.subscribe(subscriptions)).await
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        self.life.call(|| self.inner.retire(handler)).await
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.life.call(|| self.inner.subscriptions()).await
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        let inner = self.life.call(|| self.inner.queue_of(handler)).await?;
        Ok(Self::new(inner, self.life.clone()))
    }
}

#[async_trait]
impl<S: Receive> Receive for FaultyStore<S> {
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        self.life.reach(CrashPoint::Received).await;
        let received = self.life.call(|| self.inner.receive(source, deliveries));
        let received = received.await;
        self.life.reach(CrashPoint::Stored).await;
        received
    }

    async fn receive_in(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        self.life.reach(CrashPoint::Received).await;
        let receive = self.inner.receive_in(tx, source, deliveries);
        self.life.statement(receive).await
    }

    async fn unrouted(&self) -> Result<u64> {
        self.life.call(|| self.inner.unrouted()).await
    }

    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64> {
        self.life.reach(CrashPoint::Purging).await;
        let purge = || self.inner.purge_received(horizon, unrouted, limit);
        self.life.call(purge).await
    }
}

#[async_trait]
impl<S: Ingest> Ingest for FaultyStore<S> {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        let inner = self.life.call(|| self.inner.ingest_of(source)).await?;
        Ok(Self::new(inner, self.life.clone()))
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        self.life.call(|| self.inner.position(source)).await
    }

    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        self.life.reach(CrashPoint::Received).await;
        self.life.call(|| self.inner.ingest(source, request)).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        self.life.call(|| self.inner.backlog(limit)).await
    }
}

#[async_trait]
impl<S: Transact> Transact for FaultyStore<S> {
    type Open = S::Open;

    async fn begin_handling(&self) -> Result<S::Open> {
        self.life.call(|| self.inner.begin_handling()).await
    }

    async fn mark(&self, tx: &mut Self::Tx, queue: &Self, success: &Settlement) -> Result<Settled> {
        self.life.reach(CrashPoint::Handled).await;
        let mark = self.inner.mark(tx, &queue.inner, success);
        self.life.statement(mark).await
    }

    /// A COMMIT is sent once: it takes effect or not, and its reply comes or not.
    async fn commit_handling(&self, open: S::Open) -> Result<()> {
        self.life.go_on().await;
        if self.life.is_cut() {
            return Err(lost("the line is cut: the COMMIT was not sent"));
        }
        let fault = self.life.draw();
        match fault {
            Some(Fault::Before) => return Err(lost("the COMMIT was not sent")),
            Some(Fault::Delay(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        let committed = self.inner.commit_handling(open).await;
        self.life.reach(CrashPoint::HandlingCommitted).await;
        match fault {
            Some(Fault::After) => Err(lost("the reply of the COMMIT is lost")),
            _ => committed,
        }
    }

    async fn admit(
        &self,
        tx: &mut Self::Tx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        let admit = self.inner.admit(tx, source, handler, origin, id);
        self.life.statement(admit).await
    }
}
