//! The intake: batch after batch of one reader is stored, then acked.

use std::time::Duration;

use metrics::{counter, gauge};
use tokio::time::sleep_until;

use super::{backlog::Backlog, feed::Reading};
use crate::{
    Error, Result,
    dispatch::Bug,
    driver::clock,
    inbox::{Delivery, Received, SourceName},
    source::{Batch, Order, Position, Reader, Room, Start},
    store::{Epoch, Ingest, IngestRequest, Ingested},
};

/// How long a reader waits for the first arrival of a batch.
const WAIT: Duration = Duration::from_secs(1);
/// The pause before a batch is stored again.
const AGAIN: Duration = Duration::from_millis(100);

/// Why nothing more is taken from a reader.
pub(super) enum Why {
    /// The right to read is gone.
    Lost,
    /// The source stands elsewhere than it was read from.
    Elsewhere,
    /// The store refused a batch.
    Store(Error),
    /// The reader failed.
    Source(Error),
}

/// Takes what one reader brings.
pub(super) struct Intake<'a, S> {
    reading: &'a Reading<S>,
    source: &'a SourceName,
    order: Order,
    epoch: Epoch,
    position: Option<Position>,
    batches: u64,
}

impl<'a, S: Ingest> Intake<'a, S> {
    pub(super) fn new(
        reading: &'a Reading<S>,
        source: &'a SourceName,
        order: Order,
        start: &Start,
    ) -> Self {
        Self {
            reading,
            source,
            order,
            epoch: start.epoch,
            position: start.position.clone(),
            batches: 0,
        }
    }

    /// Whether the reader answered at least once.
    pub(super) const fn read_any(&self) -> bool {
        self.batches > 0
    }

    /// Takes batches until something ends it. When this future is dropped, a batch that was read is
    /// stored or not stored, as a whole, and arrives again unless it was acked.
    pub(super) async fn take(
        &mut self,
        reader: &mut dyn Reader,
        backlog: &mut Backlog<'_, S>,
    ) -> Why {
        loop {
            let messages = backlog.room().await;
            let room = Room {
                messages,
                bytes: self.reading.settings.max_buffered_bytes,
                wait: WAIT,
            };
            let batch = match reader.next(room).await {
                Ok(batch) => batch,
                Err(error) => return Why::Source(error),
            };
            self.batches += 1;
            self.note(&batch);
            if batch.is_empty() {
                continue;
            }
            backlog.add(batch.deliveries.len());
            let early = self.reading.settings.has(Bug::AckBeforeCommit);
            if early && let Err(error) = reader.ack().await {
                return Why::Source(error);
            }
            if let Err(why) = self.store(batch).await {
                return why;
            }
            if !early && let Err(error) = reader.ack().await {
                return Why::Source(error);
            }
        }
    }

    async fn store(&mut self, batch: Batch) -> Result<(), Why> {
        let received = match self.order {
            Order::Stream => self.store_in_order(batch).await?,
            Order::None => self.store_without_order(&batch.deliveries).await?,
        };
        let new = |one: &&Received| !one.is_duplicate();
        self.count("iobox_ingested_total", received.iter().filter(new).count());
        let known = received.iter().filter(|one| one.is_duplicate());
        self.count("iobox_ingest_duplicates_total", known.count());
        let unrouted = received
            .iter()
            .filter(|one| matches!(one, Received::New { handlers: 0 }));
        self.count("iobox_ingest_unrouted_total", unrouted.count());
        Ok(())
    }

    /// Stores a batch and moves the position. A call whose outcome is unknown is repeated: the
    /// position says whether it took effect.
    async fn store_in_order(&mut self, batch: Batch) -> Result<Vec<Received>, Why> {
        let Some(to) = batch.position else {
            return Err(Why::Source(Error::internal(
                "a source with an order brought a batch without a position",
            )));
        };
        let request = IngestRequest {
            epoch: self.epoch,
            from: self.position.clone(),
            to,
            deliveries: batch.deliveries,
        };
        let received = loop {
            let ingest = self.reading.store.ingest(self.source, &request);
            match self.reading.ask("ingest", ingest).await {
                Ok(Ingested::Stored(received)) => break received,
                Ok(Ingested::Already) => break Vec::new(),
                Ok(Ingested::LeaseLost) => return Err(Why::Lost),
                Ok(Ingested::Elsewhere(_)) => return Err(Why::Elsewhere),
                Err(error) => self.again(error).await?,
            }
        };
        self.position = Some(request.to);
        Ok(received)
    }

    async fn store_without_order(&self, deliveries: &[Delivery]) -> Result<Vec<Received>, Why> {
        loop {
            let receive = self.reading.store.receive(self.source, deliveries);
            match self.reading.ask("receive", receive).await {
                Ok(received) => return Ok(received),
                Err(error) => self.again(error).await?,
            }
        }
    }

    /// Waits before the same call is made again, if that makes sense.
    async fn again(&self, error: Error) -> Result<(), Why> {
        if !error.is_retryable() {
            return Err(Why::Store(error));
        }
        tracing::warn!(source = %self.source, %error, "what was read cannot be stored yet; trying again");
        sleep_until(clock() + AGAIN).await;
        Ok(())
    }

    fn note(&self, batch: &Batch) {
        let source = self.source;
        if batch.lost > 0 {
            self.count("iobox_ingest_lost_total", batch.lost);
            tracing::error!(%source, lost = batch.lost, "the stream removed messages before they were read");
        }
        for refused in &batch.refused {
            self.count("iobox_ingest_refused_total", 1_usize);
            tracing::error!(%source, place = refused.place, reason = refused.reason, "an arrival can never be stored; it was left out");
        }
        let horizon = self.reading.horizon;
        let late = |one: &&Delivery| one.age().is_some_and(|age| age > horizon);
        let late = batch.deliveries.iter().filter(late).count();
        if late > 0 {
            self.count("iobox_ingest_late_total", late);
            tracing::warn!(%source, late, "messages are older than the redelivery horizon; one that was handled and forgotten is handled again");
        }
        if let Some(behind) = batch.behind {
            let behind = u32::try_from(behind).unwrap_or(u32::MAX);
            gauge!("iobox_ingest_behind", "source" => source.to_string()).set(f64::from(behind));
        }
    }

    fn count(&self, name: &'static str, by: impl TryInto<u64>) {
        let by = by.try_into().unwrap_or(u64::MAX);
        counter!(name, "source" => self.source.to_string()).increment(by);
    }
}
