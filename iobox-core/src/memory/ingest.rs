//! Ingesting into the in-memory store.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use tokio::time::sleep_until;

use super::MemoryStore;
use crate::{
    Result,
    dispatch::Bug,
    driver::clock,
    inbox::{Delivery, HandlerName, SourceName},
    message::{Limits, Topic},
    partition::{Partition, Partitions},
    queue::Queue,
    source::Position,
    store::{Ingest, IngestRequest, Ingested, Receive},
};

/// How long a transaction stays open that a planted bug leaves unlocked.
const OPEN: Duration = Duration::from_millis(20);

impl MemoryStore {
    /// The handlers of each topic as they are before the transaction of a batch is over, where a bug
    /// is planted: a subscription may come in between.
    async fn read_routes_early(
        &self,
        request: &IngestRequest,
    ) -> Option<BTreeMap<Topic, Vec<HandlerName>>> {
        if !self.table().has(Bug::UnlockedSubscription) {
            return None;
        }
        let routes = {
            let room = self.mailroom();
            let messages = request.deliveries.iter().map(Delivery::message);
            messages
                .map(|message| (message.topic().clone(), room.handlers_of(message)))
                .collect()
        };
        sleep_until(clock() + OPEN).await;
        Some(routes)
    }
}

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
        let routes = self.read_routes_early(request).await;
        let mut room = self.mailroom();
        // The mailroom before the table, and both until everything is stored.
        let table = queue.table();
        let fenced = !table.has(Bug::UnfencedIngest);
        if fenced && !table.is_current(Partition::new(0), request.epoch) {
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
        room.store(
            self,
            std::mem::take(&mut tx.deliveries),
            Vec::new(),
            routes.as_ref(),
        );
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
