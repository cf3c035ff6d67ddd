//! Receiving: every message is stored once, with a row for each handler that wants it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{Delivery, Received, SourceName},
    queue::Queue,
    store::Receive,
};
use rusqlite::{Connection, Transaction, params};

use super::subscribe::{numbers_of, subscriptions};
use crate::{
    SqliteStore, SqliteTx,
    error::Failure,
    gate::Urgency,
    migrate,
    store::{Inner, savepoint},
    time::delay_ms,
};

/// What every row of a message has.
pub(super) struct Row {
    pub(super) message: i64,
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) size: i64,
    pub(super) received_at: i64,
}

/// Gives a message to handlers.
pub(super) fn give(
    conn: &Connection,
    inner: &Inner,
    row: &Row,
    numbers: &[i64],
) -> Result<(), Failure> {
    let text = row.key.as_deref().unwrap_or(&row.id);
    let partition = i64::from(inner.config.partitions.of(text).number());
    let mut statement = conn.prepare_cached(&inner.inbox.give)?;
    for number in numbers {
        statement.execute(params![
            number * 256 + partition,
            row.message,
            row.id,
            row.topic,
            row.key,
            row.size,
            row.received_at,
        ])?;
    }
    Ok(())
}

/// When it happened, in milliseconds since the Unix epoch; before that is negative.
fn ms_of(time: SystemTime) -> i64 {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    }
}

impl Inner {
    /// Receives through any connection to the file that has a transaction open that may write.
    pub(crate) fn receive(
        &self,
        conn: &Connection,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>, Failure> {
        self.known(&Queue::Outbox)?;
        for delivery in deliveries {
            delivery.check(self.config.limits)?;
        }
        let received = savepoint(conn, || self.store(conn, source, deliveries))?;
        self.enqueues.fetch_add(1, Ordering::Relaxed);
        self.signal.enqueued();
        Ok(received)
    }

    fn store(
        &self,
        conn: &Connection,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>, Failure> {
        migrate::check(conn, &self.sql, self.config.partitions)?;
        let now = migrate::meta(conn, &self.sql, self.config.partitions)?.now;
        let all = subscriptions(conn, self)?;
        let mut insert = conn.prepare_cached(&self.inbox.receive)?;
        let mut results = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let message = delivery.message();
            let numbers = numbers_of(&all, message.topic());
            let size = i64::try_from(message.size())
                .map_err(|_| Error::internal("a message is larger than its bounds"))?;
            let new = insert.execute(params![
                source.as_str(),
                message.origin().to_string(),
                message.id().as_str(),
                message.topic().as_str(),
                message.key().map(|key| key.as_str()),
                size,
                now,
                delivery.event_time().map(ms_of),
                numbers.is_empty(),
                message.headers().to_json(),
                &message.payload()[..],
            ])?;
            if new == 0 {
                results.push(Received::Duplicate);
                continue;
            }
            let row = Row {
                message: conn.last_insert_rowid(),
                id: message.id().to_string(),
                topic: message.topic().to_string(),
                key: message.key().map(ToString::to_string),
                size,
                received_at: now,
            };
            give(conn, self, &row, &numbers)?;
            results.push(Received::New {
                handlers: numbers.len(),
            });
        }
        Ok(results)
    }
}

impl SqliteStore {
    /// Stores deliveries in a transaction of the caller, as [`Receive::receive_in`] does: one of
    /// [`write`](Self::write), or one of a connection of the caller's own to the same file, begun with
    /// `BEGIN IMMEDIATE`.
    ///
    /// # Errors
    /// As for [`Receive::receive_in`]; when an error is returned nothing of them was written.
    pub fn receive_sync(
        &self,
        tx: &Transaction<'_>,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        Ok(self.inner.receive(tx, source, deliveries)?)
    }
}

#[async_trait]
impl Receive for SqliteStore {
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        let inner = Arc::clone(&self.inner);
        let (source, deliveries) = (source.clone(), deliveries.to_vec());
        let received = self.inner.relay.call(move |conn| {
            let write = |tx: &Transaction<'_>| inner.receive(tx, &source, &deliveries);
            inner.gate.write(Urgency::Normal, conn, write)
        });
        let received = received.await?;
        self.inner.signal.wake();
        Ok(received)
    }

    /// Stores deliveries in a transaction of [`begin`](SqliteStore::begin).
    ///
    /// A future that is dropped after it was first polled does not take them back: only a rollback
    /// does.
    async fn receive_in(
        &self,
        tx: &mut SqliteTx,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        let inner = Arc::clone(&self.inner);
        let (source, deliveries) = (source.clone(), deliveries.to_vec());
        let received = tx.run(move |conn| inner.receive(conn, &source, &deliveries));
        Ok(received.await?)
    }

    async fn unrouted(&self) -> Result<u64> {
        let inner = Arc::clone(&self.inner);
        let counted = self.inner.admin.call(move |conn| {
            let count: i64 = conn
                .prepare_cached(&inner.inbox.unrouted)?
                .query_row([], |row| row.get(0))?;
            Ok::<_, Failure>(u64::try_from(count).unwrap_or_default())
        });
        Ok(counted.await?)
    }

    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64> {
        let inner = Arc::clone(&self.inner);
        let forgotten = self.inner.admin.call(move |conn| {
            inner.gate.write(Urgency::Normal, conn, |tx| {
                let forget = |statement: &str, span: Duration| -> Result<usize, Failure> {
                    let mut statement = tx.prepare_cached(statement)?;
                    Ok(statement.execute(params![delay_ms(span), limit])?)
                };
                let sql = &inner.inbox;
                let marks = forget(&sql.forget_admitted, horizon)?;
                let messages = forget(&sql.forget, horizon)?;
                Ok(marks + messages + forget(&sql.forget_unrouted, unrouted)?)
            })
        });
        let forgotten: usize = forgotten.await?;
        Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
    }
}
