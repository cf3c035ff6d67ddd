//! Ingesting into the in-memory store.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    Result,
    inbox::SourceName,
    message::Limits,
    partition::{Partition, Partitions},
    queue::Queue,
    source::Position,
    store::{Ingest, IngestRequest, Ingested, Receive},
};

#[async_trait]
impl Ingest for MemoryStore {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        let one = Partitions::new(1)?;
        let mut room = self.mailroom();
        let queue = room
            .sources
            .entry(source.clone())
            .or_insert_with(|| self.another(Queue::Ingest(source.clone()), one));
        Ok(queue.clone())
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        Ok(self.mailroom().positions.get(source).cloned())
    }

    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let queue = self.ingest_of(source).await?;
        let mut tx = self.begin();
        let received = self
            .receive_in(&mut tx, source, &request.deliveries)
            .await?;
        let mut room = self.mailroom();
        // The mailroom before the table, and both until everything is stored.
        let table = queue.table();
        if !table.is_current(Partition::new(0), request.epoch) {
            return Ok(Ingested::LeaseLost);
        }
        let stands = room.positions.get(source);
        if stands == Some(&request.to) && request.from.as_ref() != stands {
            return Ok(Ingested::Already);
        }
        if stands != request.from.as_ref() {
            return Ok(Ingested::Elsewhere(stands.cloned()));
        }
        if room.collides(&tx.deliveries, &[]) {
            return Err(super::enqueue::collided());
        }
        room.store(self, std::mem::take(&mut tx.deliveries), Vec::new());
        room.positions.insert(source.clone(), request.to.clone());
        drop(table);
        Ok(Ingested::Stored(received))
    }

    fn limits(&self) -> Limits {
        self.shared.limits
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        let open = u64::try_from(self.table().open_rows()).unwrap_or(u64::MAX);
        Ok(open.min(limit.into()))
    }
}
