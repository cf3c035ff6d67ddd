//! Subscribing, receiving, ingesting and handling through the gate.

use std::time::Duration;

use async_trait::async_trait;
use iobox_core::{
    Result,
    inbox::{Delivery, HandlerName, Received, SourceName, Subscription},
    message::{Draft, Limits, MessageId, Origin},
    queue::Queue,
    source::Position,
    store::{
        Admitted, Enqueue, Enqueued, Ingest, IngestRequest, Ingested, Receive, Settled, Settlement,
        Subscribe, Transact,
    },
};

use super::{
    GatedStore, GatedTx,
    call::Places,
    store::{kind_of, result_of},
    tx::OpenTx,
};
use crate::{
    gate::UNBEGUN,
    handler,
    history::{Event, Lane},
    life::Life,
    point::Point,
    source::offset_of,
};

#[async_trait]
impl Enqueue for GatedStore {
    type Tx = GatedTx;

    async fn enqueue(&self, tx: &mut GatedTx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.inner.enqueue(&mut tx.inner, drafts).await
    }
}

#[async_trait]
impl Subscribe for GatedStore {
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        let (this, all) = (self.clone(), subscriptions.to_vec());
        self.call(Places::default(), async move {
            this.inner.subscribe(&all).await?;
            let number = |one: &Subscription| handler::number_of(&one.handler);
            let handlers = all.iter().map(number).collect();
            this.history
                .of(Lane::Ingest)
                .add(Event::Subscribed { handlers });
            Ok(())
        })
        .await
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        self.inner.retire(handler).await
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.inner.subscriptions().await
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        self.before().await?;
        let inner = self.inner.queue_of(handler).await?;
        let lane = Lane::Handler(handler::number_of(handler));
        Ok(self.another(inner, Queue::Inbox(handler.clone()), lane))
    }
}

#[async_trait]
impl Receive for GatedStore {
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        self.inner.receive(source, deliveries).await
    }

    async fn receive_in(
        &self,
        tx: &mut GatedTx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        self.inner
            .receive_in(&mut tx.inner, source, deliveries)
            .await
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
        let this = self.clone();
        let places = Places::before([Point::Forgetting]).after([Point::Forgetting]);
        self.call(places, async move {
            this.inner.purge_received(horizon, unrouted, limit).await
        })
        .await
    }
}

#[async_trait]
impl Transact for GatedStore {
    type Open = OpenTx;

    async fn begin_handling(&self) -> Result<OpenTx> {
        let unbegun = Unbegun(&self.life);
        let began = self.before().await;
        std::mem::forget(unbegun);
        began?;
        Ok(OpenTx(Box::new(GatedTx {
            inner: self.inner.begin(),
            attempt: None,
            marks: None,
        })))
    }

    async fn mark(&self, tx: &mut GatedTx, queue: &Self, success: &Settlement) -> Result<Settled> {
        self.before().await?;
        self.life.point(Point::Marking).await;
        let settled = self
            .inner
            .mark(&mut tx.inner, &queue.inner, success)
            .await?;
        let id = queue.id_of(success.seq).await;
        if settled != Settled::Applied {
            queue.note_mark(success, settled, id.clone());
        }
        tx.marks = Some((queue.history.clone(), success.clone(), id));
        self.life.point(Point::Marking).await;
        self.after().await?;
        Ok(settled)
    }

    async fn commit_handling(&self, open: OpenTx) -> Result<()> {
        let GatedTx {
            inner,
            attempt,
            marks,
        } = *open.0;
        let this = self.clone();
        let places = Places::default().after([Point::Marked]);
        let committed = self.call(places, async move {
            inner.commit()?;
            if let Some((history, success, id)) = marks {
                if let Some(id) = &id {
                    let (id, new) = (id.clone(), true);
                    history.add(Event::Accepted { id, new });
                }
                let queue = Self {
                    history,
                    ..this.clone()
                };
                queue.note_mark(&success, Settled::Applied, id);
            }
            Ok(())
        });
        committed.await?;
        if let Some(attempt) = attempt {
            attempt.succeeded();
        }
        Ok(())
    }

    async fn admit(
        &self,
        tx: &mut GatedTx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        self.inner
            .admit(&mut tx.inner, source, handler, origin, id)
            .await
    }
}

/// Notes that a handler was given up while its transaction was being opened: this counts as an
/// attempt of a message that nobody can name here.
struct Unbegun<'a>(&'a Life);

impl Drop for Unbegun<'_> {
    fn drop(&mut self) {
        self.0.fault(UNBEGUN);
    }
}

impl GatedStore {
    fn note_mark(&self, success: &Settlement, settled: Settled, id: Option<String>) {
        self.history.add(Event::Settled {
            process: self.life.process,
            partition: success.partition,
            epoch: success.epoch,
            seq: success.seq,
            revision: success.revision,
            kind: kind_of(&success.change),
            result: result_of(settled),
            id,
        });
    }

    async fn ingest_now(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let ingested = self.inner.ingest(source, request).await?;
        let (history, process) = (self.history.of(Lane::Ingest), self.life.process);
        match &ingested {
            Ingested::Stored(received) => {
                let arrivals = request.deliveries.iter().zip(received);
                let arrivals = arrivals.map(|(delivery, received)| {
                    let id = delivery.message().id().to_string();
                    (id, !received.is_duplicate())
                });
                history.add(Event::Stored {
                    process,
                    epoch: request.epoch,
                    from: request.from.as_ref().map_or(0, offset_of),
                    to: offset_of(&request.to),
                    arrivals: arrivals.collect(),
                    now: self.inner.clock().now(),
                });
            }
            Ingested::LeaseLost => history.add(Event::NotStored { process }),
            Ingested::Already | Ingested::Elsewhere(_) => {}
        }
        Ok(ingested)
    }
}

#[async_trait]
impl Ingest for GatedStore {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        self.before().await?;
        let inner = self.inner.ingest_of(source).await?;
        Ok(self.another(inner, Queue::Ingest(source.clone()), Lane::Ingest))
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        self.before().await?;
        let position = self.inner.position(source).await?;
        self.after().await?;
        Ok(position)
    }

    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let (this, source, request) = (self.clone(), source.clone(), request.clone());
        let places = Places::before([Point::Storing]).after([Point::Acking]);
        self.call(
            places,
            async move { this.ingest_now(&source, &request).await },
        )
        .await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        self.inner.backlog(limit).await
    }
}
