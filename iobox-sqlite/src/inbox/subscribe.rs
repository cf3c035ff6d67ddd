//! Subscribing: which handlers there are, and who gets what was kept.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{HandlerName, Subscription, TopicPattern},
    message::{OrderingKey, Topic},
    queue::Queue,
    store::Subscribe,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::receive::{Row, give};
use crate::{SqliteStore, error::Failure, gate::Urgency, migrate, row, sql::Shelf, store::Inner};

/// A subscription with the number of its handler.
pub(super) struct Numbered {
    pub(super) subscription: Subscription,
    pub(super) number: i64,
}

/// The subscriptions, as they are in this transaction.
pub(super) fn subscriptions(conn: &Connection, inner: &Inner) -> Result<Vec<Numbered>, Failure> {
    let mut statement = conn.prepare_cached(&inner.inbox.subscriptions)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let corrupt = |source| {
            Error::corrupt("a stored subscription cannot be read back").with_source(source)
        };
        let (pattern, handler): (String, String) = (row.get(0)?, row.get(1)?);
        found.push(Numbered {
            subscription: Subscription {
                pattern: TopicPattern::new(pattern).map_err(corrupt)?,
                handler: HandlerName::new(handler).map_err(corrupt)?,
            },
            number: row.get(2)?,
        });
    }
    Ok(found)
}

/// The numbers of the handlers that want a topic, each once.
pub(super) fn numbers_of(all: &[Numbered], topic: &Topic) -> Vec<i64> {
    let mut numbers: Vec<_> = all
        .iter()
        .filter(|one| one.subscription.pattern.matches(topic))
        .map(|one| one.number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Adds subscriptions and gives what was kept to whoever wants it now. Nobody receives meanwhile,
/// since a file has one writer.
fn subscribe(
    conn: &Connection,
    inner: &Inner,
    subscriptions: &[Subscription],
) -> Result<(), Failure> {
    let sql = &inner.inbox;
    migrate::check(conn, &inner.sql, inner.config.partitions)?;
    for one in subscriptions {
        let name = one.handler.as_str();
        conn.prepare_cached(&sql.add_handler)?.execute([name])?;
        let number: i64 = conn
            .prepare_cached(&sql.handler)?
            .query_row([name], |row| row.get(0))?;
        conn.prepare_cached(&sql.add_partitions)?.execute(params![
            Queue::Inbox(one.handler.clone()).name(),
            inner.config.partitions.count()
        ])?;
        conn.prepare_cached(&sql.add_subscription)?
            .execute(params![one.pattern.as_str(), number])?;
    }
    let all = self::subscriptions(conn, inner)?;
    let topics = conn
        .prepare_cached(&sql.kept_topics)?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut kept = Vec::new();
    for topic in topics {
        let Ok(parsed) = Topic::new(&topic) else {
            continue;
        };
        let numbers = numbers_of(&all, &parsed);
        if numbers.is_empty() {
            continue;
        }
        let mut statement = conn.prepare_cached(&sql.kept)?;
        let mut rows = statement.query([&topic])?;
        while let Some(row) = rows.next()? {
            kept.push((Row::read(row)?, numbers.clone()));
        }
    }
    // Across topics too, in the order in which they were received.
    kept.sort_unstable_by_key(|(row, _)| row.message);
    for (row, numbers) in kept {
        give(conn, inner, &row, &numbers)?;
        conn.prepare_cached(&sql.route)?.execute([row.message])?;
    }
    Ok(())
}

impl Row {
    /// Reads the columns of `InboxSql::kept`.
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            message: row.get(0)?,
            id: row.get(1)?,
            topic: row.get(2)?,
            key: row::key(row.get_ref(3)?)
                .as_ref()
                .map(OrderingKey::to_string),
            size: row.get(4)?,
            received_at: row.get(5)?,
        })
    }
}

#[async_trait]
impl Subscribe for SqliteStore {
    async fn subscribe(&self, subscriptions: &[Subscription]) -> Result<()> {
        self.inner.known(&Queue::Outbox)?;
        let (inner, all) = (Arc::clone(&self.inner), subscriptions.to_vec());
        let subscribed = self.inner.relay.call(move |conn| {
            let write = |tx: &rusqlite::Transaction<'_>| subscribe(tx, &inner, &all);
            inner.gate.write(Urgency::Normal, conn, write)
        });
        subscribed.await?;
        self.inner.signal.wake();
        Ok(())
    }

    async fn retire(&self, handler: &HandlerName) -> Result<bool> {
        let (inner, handler) = (Arc::clone(&self.inner), handler.clone());
        let retired = self.inner.relay.call(move |conn| {
            inner.gate.write(Urgency::Normal, conn, |tx| {
                let removed = tx
                    .prepare_cached(&inner.inbox.retire)?
                    .execute([handler.as_str()])?;
                Ok(removed > 0)
            })
        });
        Ok(retired.await?)
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let inner = Arc::clone(&self.inner);
        let found = self.inner.admin.call(move |conn| {
            let found = subscriptions(conn, &inner)?;
            let mut found: Vec<_> = found.into_iter().map(|one| one.subscription).collect();
            found.sort_unstable();
            Ok::<_, Failure>(found)
        });
        Ok(found.await?)
    }

    async fn queue_of(&self, handler: &HandlerName) -> Result<Self> {
        let (inner, name) = (Arc::clone(&self.inner), handler.clone());
        let found = self.inner.admin.call(move |conn| {
            Ok::<_, Failure>(
                conn.prepare_cached(&inner.inbox.handler)?
                    .query_row([name.as_str()], |row| row.get::<_, i64>(0))
                    .optional()?,
            )
        });
        let number = found.await?.ok_or_else(|| {
            Error::invalid(format!(
                "handler {handler} was never subscribed; subscribe it"
            ))
        })?;
        let shelf = Shelf {
            queue: Queue::Inbox(handler.clone()).name().to_owned(),
            handler: Some(number),
        };
        Ok(Self {
            inner: Arc::new(self.inner.another(shelf)),
        })
    }
}
