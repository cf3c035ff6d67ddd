//! The broker's log as a source with faults: readers that fail, batches cut short, acks that are
//! lost on either way, and a broker that hands out what was not acked first.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    dispatch::Bug,
    inbox::{Delivery, SourceName},
    memory::MemoryBroker,
    source::{Batch, Order, Position, Reader, Refused, Room, Source, Start},
};
use tokio::time::{sleep, timeout};

use crate::{
    history::{Event, History, Lane},
    life::Life,
    point::Point,
};

/// What the broker keeps of the log's only consumer, whoever it is at the moment.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    /// What was acked, as an offset. It is gone from the log where the broker removes it.
    acked: AtomicUsize,
}

/// The offset of a position.
pub(crate) fn offset_of(position: &Position) -> usize {
    let offset = position.as_str().parse();
    offset.expect("positions are offsets")
}

/// The log as one process reads it.
#[derive(Debug, Clone)]
pub(crate) struct GatedSource {
    pub(crate) name: SourceName,
    pub(crate) broker: MemoryBroker,
    pub(crate) consumer: Arc<Consumer>,
    /// Whether the broker removes what is acked.
    pub(crate) removes: bool,
    pub(crate) life: Life,
    pub(crate) bug: Option<Bug>,
}

impl GatedSource {
    fn history(&self) -> History {
        self.life.history.of(Lane::Ingest)
    }

    async fn reach(&self, what: &'static str) -> Result<()> {
        let (life, chaos) = (&self.life, &self.life.chaos);
        life.passed().await;
        sleep(Duration::from_micros(300)).await;
        if chaos.strikes(chaos.rates.source_slow) {
            life.fault("source slow");
            sleep(chaos.delay(chaos.longest)).await;
        }
        if chaos.broker_down.load(Ordering::Relaxed) {
            life.fault("broker down");
            return Err(Error::unavailable("simulated: broker down"));
        }
        if chaos.strikes(chaos.rates.source_fails) {
            life.fault(what);
            return Err(Error::unavailable(what));
        }
        life.passed().await;
        Ok(())
    }

    /// The broker takes an ack.
    fn take_ack(&self, upto: usize) {
        self.history().add(Event::BrokerAcked { upto });
        self.consumer.acked.fetch_max(upto, Ordering::Relaxed);
    }
}

#[async_trait]
impl Source for GatedSource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn order(&self) -> Order {
        Order::Stream
    }

    async fn probe(&self) -> Result<()> {
        self.reach("source: probe fails").await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        self.reach("source: open fails").await?;
        let acked = self.consumer.acked.load(Ordering::Relaxed);
        let behind = start.position.as_ref().map_or(0, offset_of);
        if acked < behind {
            self.life.fault("source: hands out what was read before");
        }
        // The broker begins where it was acked, the reader behind the position.
        let skips = if self.bug == Some(Bug::PositionIgnored) {
            0
        } else {
            behind
        };
        Ok(Box::new(GatedReader {
            source: self.clone(),
            start: start.clone(),
            skips,
            next: acked,
            done: Mutex::new(false),
        }))
    }
}

/// Reads from where the broker begins, and passes on what is behind the position.
#[derive(Debug)]
struct GatedReader {
    source: GatedSource,
    start: Start,
    /// What lies before is stored already.
    skips: usize,
    next: usize,
    /// Set by an error: only closing is left.
    done: Mutex<bool>,
}

impl GatedReader {
    fn failed<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            *self.done.lock().expect("no panic holds the lock") = true;
        }
        result
    }

    async fn read(&mut self, room: Room) -> Result<Batch> {
        let chaos = Arc::clone(&self.source.life.chaos);
        self.source.reach("source: next fails").await?;
        let mut batch = Batch::default();
        let first = self.next.max(self.skips);
        let arrives = self.source.broker.wait_for(first + 1);
        if timeout(room.wait, arrives).await.is_err() {
            return Ok(batch);
        }
        self.source.life.passed().await;
        let mut most = room.messages;
        if chaos.strikes(chaos.rates.source_cut) {
            self.source.life.fault("source: batch cut short");
            most = 1;
        }
        if self.source.removes {
            let removed = self.source.consumer.acked.load(Ordering::Relaxed);
            batch.lost = u64::try_from(removed.saturating_sub(first)).unwrap_or(u64::MAX);
            self.next = self.next.max(removed);
        }
        for entry in self.source.broker.read(self.next.max(self.skips), most) {
            self.next = entry.offset + 1;
            let delivery = Delivery::new(entry.message);
            match delivery.check(self.start.limits) {
                Ok(()) => batch.deliveries.push(delivery),
                Err(error) => batch.refused.push(Refused {
                    place: entry.offset.to_string(),
                    reason: error.to_string(),
                }),
            }
        }
        batch.position = Some(Position::new(self.next.to_string())?);
        self.source.life.point(Point::Received).await;
        Ok(batch)
    }

    async fn tell(&mut self) -> Result<()> {
        let (source, chaos) = (self.source.clone(), Arc::clone(&self.source.life.chaos));
        source.life.point(Point::Acking).await;
        source.reach("source: ack fails").await?;
        let upto = self.next;
        if chaos.strikes(chaos.rates.source_ack_lost) {
            source.life.fault("source: ack lost");
            return Err(Error::unavailable("simulated: ack lost"));
        }
        if chaos.strikes(chaos.rates.source_ack_lost) {
            source.life.fault("source: ack comes late");
            let delay = chaos.delay(chaos.longest * 2);
            chaos.later(delay, async move { source.take_ack(upto) });
            return Err(Error::unavailable("simulated: no answer to an ack"));
        }
        source.take_ack(upto);
        source.life.point(Point::AckTaken).await;
        if chaos.strikes(chaos.rates.source_ack_lost) {
            source.life.fault("source: reply to an ack lost");
            return Err(Error::unavailable("simulated: reply lost"));
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for GatedReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let done = *self.done.lock().expect("no panic holds the lock");
        assert!(!done, "a reader that failed is read again");
        let batch = self.read(room).await;
        self.failed(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        let told = self.tell().await;
        self.failed(told)
    }

    async fn close(self: Box<Self>) {
        self.source.life.passed().await;
        sleep(Duration::from_millis(1)).await;
    }
}
