//! The log of the in-memory broker as a source.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::time::timeout;

use super::MemoryBroker;
use crate::{
    Error, Result,
    inbox::{Delivery, SourceName},
    source::{Batch, Order, Position, Reader, Refused, Room, Source, Start},
};

/// Reads the log of a [`MemoryBroker`] from its beginning, in order. Clones are the same source.
#[derive(Clone)]
pub struct MemorySource {
    name: SourceName,
    broker: MemoryBroker,
    acked: Arc<AtomicUsize>,
}

impl MemorySource {
    /// The log of `broker` as the source `name`.
    #[must_use]
    pub fn new(name: SourceName, broker: MemoryBroker) -> Self {
        Self {
            name,
            broker,
            acked: Arc::default(),
        }
    }

    /// How many entries of the log were acked, the first ones.
    #[must_use]
    pub fn acked(&self) -> usize {
        self.acked.load(Ordering::Acquire)
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("name", &self.name)
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for MemorySource {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn order(&self) -> Order {
        Order::Stream
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let corrupt =
            |source| Error::corrupt("the position is not an offset of the log").with_source(source);
        let next = match &start.position {
            Some(position) => position.as_str().parse().map_err(corrupt)?,
            None => 0,
        };
        Ok(Box::new(MemoryReader {
            source: self.clone(),
            start: start.clone(),
            next,
        }))
    }
}

/// Reads the log from an offset on.
#[derive(Debug)]
struct MemoryReader {
    source: MemorySource,
    start: Start,
    next: usize,
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, room: Room) -> Result<Batch> {
        let mut batch = Batch::default();
        let broker = &self.source.broker;
        if timeout(room.wait, broker.wait_for(self.next + 1))
            .await
            .is_err()
        {
            return Ok(batch);
        }
        let mut bytes = 0;
        for entry in broker.read(self.next, room.messages) {
            bytes += entry.message.size();
            let first = batch.deliveries.is_empty() && batch.refused.is_empty();
            if bytes > room.bytes && !first {
                break;
            }
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
        batch.behind = u64::try_from(broker.len().saturating_sub(self.next)).ok();
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        self.source.acked.fetch_max(self.next, Ordering::AcqRel);
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}
