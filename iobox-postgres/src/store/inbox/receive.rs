//! Receiving: every message is stored once, with a row for each handler that wants it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use iobox_core::{
    Error, ErrorKind, Result,
    inbox::{Delivery, Received, SourceName},
    message::Message,
    queue::Queue,
    store::Receive,
};
use sqlx::PgConnection;

use super::routing::{Numbered, numbers_of};
use crate::{
    error::from_sqlx,
    row::get,
    session::Session,
    sql::Statement,
    store::{PostgresStore, enqueue::chunks, micros},
};

/// How often a transaction of our own is run, when conflicts end it.
const TRIES_MAX: usize = 10;

/// How often a transaction of our own was run.
#[derive(Debug, Default)]
pub(super) struct Tries(usize);

impl Tries {
    /// Whether to run it again: after a conflict, a bounded number of times.
    pub(super) fn again<T>(&mut self, ended: &Result<T>) -> bool {
        self.0 += 1;
        let conflict = |error: &Error| error.kind() == ErrorKind::Conflict;
        self.0 < TRIES_MAX && ended.as_ref().is_err_and(conflict)
    }
}

/// What every row of a message has.
pub(super) struct Row {
    pub(super) message: i64,
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) size: i32,
}

/// The rows of an insert, as the arrays of the statement.
#[derive(Default)]
pub(super) struct Rows {
    partitions: Vec<i16>,
    messages: Vec<i64>,
    ids: Vec<String>,
    topics: Vec<String>,
    keys: Vec<Option<String>>,
    sizes: Vec<i32>,
}

fn size_of(message: &Message) -> i32 {
    i32::try_from(message.size()).unwrap_or(i32::MAX)
}

/// When it happened, in microseconds since 1970.
fn micros_of(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

impl PostgresStore {
    /// Adds a row for each of the handlers.
    pub(super) fn push_rows(&self, rows: &mut Rows, row: &Row, numbers: &[i16]) {
        let text = row.key.as_deref().unwrap_or(&row.id);
        let partition = i16::from(self.config.partitions.of(text).number());
        for number in numbers {
            rows.partitions.push(number * 256 + partition);
            rows.messages.push(row.message);
            rows.ids.push(row.id.clone());
            rows.topics.push(row.topic.clone());
            rows.keys.push(row.key.clone());
            rows.sizes.push(row.size);
        }
    }

    /// Gives messages to handlers.
    pub(super) async fn give(&self, tx: &mut PgConnection, rows: Rows) -> Result<()> {
        if rows.partitions.is_empty() {
            return Ok(());
        }
        let give = self.sql.inbox.give.query();
        give.bind(rows.partitions)
            .bind(rows.messages)
            .bind(rows.ids)
            .bind(rows.topics)
            .bind(rows.keys)
            .bind(rows.sizes)
            .execute(tx)
            .await
            .map_err(|source| from_sqlx("giving messages to handlers", source))?;
        Ok(())
    }

    pub(super) async fn store(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        self.known(&Queue::Outbox)?;
        for delivery in deliveries {
            delivery.check(self.config.limits)?;
        }
        self.info().await?;
        let table = self.routing(tx).await?;
        let messages: Vec<&Message> = deliveries.iter().map(Delivery::message).collect();
        let mut results = Vec::with_capacity(deliveries.len());
        let mut rest = deliveries;
        for chunk in chunks(&messages) {
            let (now, later) = rest.split_at_checked(chunk.len()).unwrap_or((rest, &[]));
            rest = later;
            results.append(&mut self.store_chunk(tx, source, now, &table).await?);
        }
        self.signal.enqueued();
        Ok(results)
    }

    async fn store_chunk(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        deliveries: &[Delivery],
        table: &[Numbered],
    ) -> Result<Vec<Received>> {
        let messages = || deliveries.iter().map(Delivery::message);
        let column =
            |text: fn(&Message) -> String| -> Vec<String> { messages().map(text).collect() };
        let wanted: Vec<Vec<i16>> = messages()
            .map(|message| numbers_of(table, message.topic()))
            .collect();
        let keys: Vec<Option<&str>> = messages()
            .map(|message| message.key().map(|key| key.as_str()))
            .collect();
        let payloads: Vec<&[u8]> = messages()
            .map(|message| message.payload().as_ref())
            .collect();
        let sizes: Vec<i32> = messages().map(size_of).collect();
        let unrouted: Vec<bool> = wanted.iter().map(Vec::is_empty).collect();
        let times: Vec<Option<i64>> = deliveries
            .iter()
            .map(|delivery| delivery.event_time().map(micros_of))
            .collect();
        let new = self
            .sql
            .inbox
            .receive
            .query()
            .bind(source.as_str().to_owned())
            .bind(column(|message| message.origin().to_string()))
            .bind(column(|message| message.id().to_string()))
            .bind(column(|message| message.topic().to_string()))
            .bind(keys)
            .bind(column(|message| message.headers().to_json()))
            .bind(payloads)
            .bind(sizes)
            .bind(unrouted)
            .bind(times)
            .fetch_all(&mut *tx)
            .await
            .map_err(|source| from_sqlx("receiving", source))?;
        let mut fresh = HashMap::with_capacity(new.len());
        for row in &new {
            let known: (String, String) = (get(row, 1)?, get(row, 2)?);
            fresh.insert(known, get::<i64>(row, 0)?);
        }
        let mut rows = Rows::default();
        let mut results = Vec::with_capacity(deliveries.len());
        for (message, numbers) in messages().zip(wanted) {
            // A message that comes twice in the call is new the first time alone.
            let known = (message.origin().to_string(), message.id().to_string());
            let Some(seq) = fresh.remove(&known) else {
                results.push(Received::Duplicate);
                continue;
            };
            let row = Row {
                message: seq,
                id: known.1,
                topic: message.topic().to_string(),
                key: message.key().map(ToString::to_string),
                size: size_of(message),
            };
            self.push_rows(&mut rows, &row, &numbers);
            results.push(Received::New {
                handlers: numbers.len(),
            });
        }
        self.give(tx, rows).await?;
        Ok(results)
    }

    /// Opens a transaction of our own, at READ COMMITTED. It waits for nothing but the server, so that a
    /// session that stands idle in it is one whose process was paused: the server ends it after a lease.
    /// Only for tasks that nobody can cancel.
    pub(in crate::store) async fn begin_own(&self, doing: &'static str) -> Result<Session> {
        let begin = Statement::begin(self.shortest_lease.get());
        Arc::clone(&self.sessions).begin(doing, begin).await
    }

    /// Receives in a transaction of our own.
    async fn receive_once(
        &self,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        let mut tx = self.begin_own("receiving").await?;
        let received = self.store(&mut tx, source, deliveries).await?;
        tx.commit("receiving").await?;
        Ok(received)
    }
}

#[async_trait]
impl Receive for PostgresStore {
    /// Stores deliveries in a transaction of the store's own. When this future is dropped it goes on
    /// to its end all the same.
    async fn receive(&self, source: &SourceName, deliveries: &[Delivery]) -> Result<Vec<Received>> {
        let (this, source, deliveries) = (self.clone(), source.clone(), deliveries.to_vec());
        let running = tokio::spawn(async move {
            let mut tries = Tries::default();
            loop {
                let once = this.receive_once(&source, &deliveries);
                let received = this.sessions.bound("receiving", once).await;
                if !tries.again(&received) {
                    return received;
                }
            }
        });
        let received = running
            .await
            .map_err(|source| Error::internal("receiving panicked").with_source(source))??;
        self.signal.wake();
        Ok(received)
    }

    /// Stores deliveries in whatever transaction or savepoint is open on `tx`; open one.
    ///
    /// At READ COMMITTED a message that another open transaction stored is waited for. At REPEATABLE
    /// READ and SERIALIZABLE a message, or a change of the subscriptions, that was committed after the
    /// transaction's snapshot is a [`Conflict`](ErrorKind::Conflict).
    async fn receive_in(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        deliveries: &[Delivery],
    ) -> Result<Vec<Received>> {
        self.store(tx, source, deliveries).await
    }

    async fn unrouted(&self) -> Result<u64> {
        let counted = self.sql.inbox.unrouted.query().fetch_one(&self.admin_pool);
        let row = counted
            .await
            .map_err(|source| from_sqlx("counting unrouted messages", source))?;
        Ok(u64::try_from(get::<i64>(&row, 0)?).unwrap_or_default())
    }

    async fn purge_received(
        &self,
        horizon: Duration,
        unrouted: Duration,
        limit: u32,
    ) -> Result<u64> {
        let sql = &self.sql.inbox;
        let mut forgotten = 0;
        for (statement, span) in [
            (&sql.forget_admitted, horizon),
            (&sql.forget, horizon),
            (&sql.forget_unrouted, unrouted),
        ] {
            let done = statement
                .query()
                .bind(micros(span))
                .bind(i64::from(limit))
                .execute(&self.admin_pool)
                .await
                .map_err(|source| from_sqlx("forgetting messages", source))?;
            forgotten += done.rows_affected();
        }
        Ok(forgotten)
    }
}
