//! The book: a transactional handler, whose effect is a row of a table without a unique key.

use std::{future::pending, thread};

use async_trait::async_trait;
use iobox::{
    handler::{HandlerError, TxHandler},
    message::Message,
    sqlite::{SqliteHandler, rusqlite::Transaction},
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::orders::Orders;
use crate::{gauge::Gauge, say};

/// Inserts one row for each message. The order `handling` holds it for ever with the row written and
/// the transaction open.
#[derive(Debug)]
struct Book {
    insert: String,
    handler: String,
    orders: Orders,
    gauge: Gauge,
}

/// A handler for tables in `schema`, which is a plain identifier.
pub(crate) fn in_postgres(
    schema: &str,
    handler: &str,
    orders: &Orders,
    gauge: &Gauge,
) -> impl TxHandler<PgConnection> {
    let into = format!("insert into {schema}.effect (handler, id, key)");
    Book {
        insert: format!("{into} values ($1, $2, $3)"),
        handler: handler.to_owned(),
        orders: orders.clone(),
        gauge: gauge.clone(),
    }
}

/// A handler for tables in a file.
pub(crate) fn in_sqlite(handler: &str, orders: &Orders, gauge: &Gauge) -> impl SqliteHandler {
    let book = Book {
        insert: "insert into effect (handler, id, key) values (?1, ?2, ?3)".to_owned(),
        handler: handler.to_owned(),
        orders: orders.clone(),
        gauge: gauge.clone(),
    };
    move |tx: &Transaction<'_>, message: &Message| book.write(tx, message)
}

impl Book {
    /// Whether to stand still inside of the transaction.
    fn must_hold(&self, message: &Message) -> bool {
        let held = self.orders.take("handling");
        if held {
            say(&format!("HANDLING {}", message.id()));
        }
        held
    }

    fn write(&self, tx: &Transaction<'_>, message: &Message) -> Result<(), HandlerError> {
        let _held = self.gauge.hold(1);
        let key = message.key().map(|key| key.as_str());
        let row = (&self.handler, message.id().as_str(), key);
        tx.prepare_cached(&self.insert)?.execute(row)?;
        if self.must_hold(message) {
            // Nobody unparks this thread; it may wake up all the same.
            loop {
                thread::park();
            }
        }
        Ok(())
    }
}

#[async_trait]
impl TxHandler<PgConnection> for Book {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        let _held = self.gauge.hold(1);
        sqlx::query(AssertSqlSafe(self.insert.as_str()))
            .bind(&self.handler)
            .bind(message.id().as_str())
            .bind(message.key().map(|key| key.as_str()))
            .execute(tx)
            .await?;
        if self.must_hold(message) {
            pending::<()>().await;
        }
        Ok(())
    }
}
