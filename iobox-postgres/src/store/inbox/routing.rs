//! The routing: which handlers want which topics, read once for each of its versions.

use std::sync::{Arc, Mutex, PoisonError};

use iobox_core::{
    Error, Result,
    inbox::{HandlerName, Subscription, TopicPattern},
    message::Topic,
};
use sqlx::PgConnection;

use crate::{error::from_sqlx, row::get, store::PostgresStore};

/// A subscription with the number of its handler.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) subscription: Subscription,
    number: i16,
}

/// The subscriptions of one version.
pub(super) type Table = Arc<Vec<Numbered>>;

/// The subscriptions as they were last read, with their version.
#[derive(Debug, Default)]
pub(in crate::store) struct Routing(Mutex<Option<(i64, Table)>>);

/// The numbers of the handlers that want a topic, each once.
pub(super) fn numbers_of(table: &[Numbered], topic: &Topic) -> Vec<i16> {
    let mut numbers: Vec<_> = table
        .iter()
        .filter(|one| one.subscription.pattern.matches(topic))
        .map(|one| one.number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl PostgresStore {
    /// The subscriptions, which stay as they are until the end of the transaction.
    pub(super) async fn routing(&self, tx: &mut PgConnection) -> Result<Table> {
        let reading = |source| from_sqlx("reading the subscriptions", source);
        let row = self.sql.inbox.routing.query().fetch_one(&mut *tx).await;
        let version: i64 = get(&row.map_err(reading)?, 0)?;
        let known = |known: &Option<(i64, Table)>| match known {
            Some((read, table)) if *read == version => Some(Arc::clone(table)),
            _ => None,
        };
        if let Some(table) = known(
            &self
                .routing
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        ) {
            return Ok(table);
        }
        let table: Table = Arc::new(self.read_subscriptions(tx).await?);
        *self
            .routing
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((version, Arc::clone(&table)));
        Ok(table)
    }

    /// The subscriptions as this transaction sees them.
    pub(super) async fn read_subscriptions(&self, tx: &mut PgConnection) -> Result<Vec<Numbered>> {
        let rows = self.sql.inbox.subscriptions.query().fetch_all(tx).await;
        rows.map_err(|source| from_sqlx("reading the subscriptions", source))?
            .iter()
            .map(|row| {
                let corrupt = |source| {
                    Error::corrupt("a stored subscription cannot be read back").with_source(source)
                };
                Ok(Numbered {
                    subscription: Subscription {
                        pattern: TopicPattern::new(get::<&str>(row, 0)?).map_err(corrupt)?,
                        handler: HandlerName::new(get::<&str>(row, 1)?).map_err(corrupt)?,
                    },
                    number: get(row, 2)?,
                })
            })
            .collect()
    }
}
