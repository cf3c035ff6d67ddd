//! Ingesting: what was read and the position behind it in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::SourceName,
    message::Limits,
    partition::Partition,
    queue::Queue,
    source::Position,
    store::{Ingest, IngestRequest, Ingested},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::{
    SqliteStore,
    error::Failure,
    gate::Urgency,
    migrate,
    sql::Shelf,
    store::{Inner, holds},
};

/// The one partition of the right to read a source.
const ONLY: Partition = Partition::new(0);

impl Inner {
    /// Ingests in an open transaction that may write: until its end the right to read and the position
    /// stay what they are.
    fn ingest(
        &self,
        tx: &Transaction<'_>,
        source: &SourceName,
        request: &IngestRequest,
    ) -> Result<Ingested, Failure> {
        let queue = Queue::Ingest(source.clone());
        if !holds(tx, &self.sql, queue.name(), ONLY, request.epoch)? {
            return Ok(Ingested::LeaseLost);
        }
        let stands = self.position(tx, source)?;
        if stands.as_ref() == Some(&request.to) && stands != request.from {
            return Ok(Ingested::Already);
        }
        if stands != request.from {
            return Ok(Ingested::Elsewhere(stands));
        }
        let received = self.receive(tx, source, &request.deliveries)?;
        tx.prepare_cached(&self.inbox.move_position)?
            .execute(params![source.as_str(), request.to.as_str()])?;
        Ok(Ingested::Stored(received))
    }

    fn position(
        &self,
        conn: &Connection,
        source: &SourceName,
    ) -> Result<Option<Position>, Failure> {
        let found: Option<String> = conn
            .prepare_cached(&self.inbox.position)?
            .query_row([source.as_str()], |row| row.get(0))
            .optional()?;
        let corrupt =
            |source| Error::corrupt("a stored position cannot be read back").with_source(source);
        Ok(found
            .map(|text| Position::new(text).map_err(corrupt))
            .transpose()?)
    }
}

#[async_trait]
impl Ingest for SqliteStore {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        let shelf = Shelf::source(source);
        let (inner, queue) = (Arc::clone(&self.inner), shelf.queue.clone());
        let added = self.inner.relay.call(move |conn| {
            inner.gate.write(Urgency::Normal, conn, |tx| {
                migrate::check(tx, &inner.sql, inner.config.partitions)?;
                let mut add = tx.prepare_cached(&inner.inbox.add_partitions)?;
                add.execute(params![queue, 1])?;
                Ok(())
            })
        });
        added.await?;
        Ok(Self {
            inner: Arc::new(self.inner.another(shelf)),
        })
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        let (inner, source) = (Arc::clone(&self.inner), source.clone());
        let read = move |conn: &mut Connection| inner.position(conn, &source);
        Ok(self.inner.admin.call(read).await?)
    }

    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let inner = Arc::clone(&self.inner);
        let (source, request) = (source.clone(), request.clone());
        let ingested = self.inner.relay.call(move |conn| {
            let write = |tx: &Transaction<'_>| inner.ingest(tx, &source, &request);
            inner.gate.write(Urgency::Normal, conn, write)
        });
        let ingested = ingested.await?;
        self.inner.signal.wake();
        Ok(ingested)
    }

    fn limits(&self) -> Limits {
        self.inner.config.limits
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        let inner = Arc::clone(&self.inner);
        let counted = self.inner.admin.call(move |conn| {
            let count: i64 = conn
                .prepare_cached(&inner.sql.backlog)?
                .query_row([limit], |row| row.get(0))?;
            Ok::<_, Failure>(u64::try_from(count).unwrap_or_default())
        });
        Ok(counted.await?)
    }
}
