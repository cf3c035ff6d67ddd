//! The inbox half of a database: the effects of handlers, and what is stored of their messages.

use std::{fs, path::Path};

use iobox::{
    Error,
    inbox::{HandlerName, SourceName},
    message::MessageId,
    queue::Queue,
    sqlite::{rusqlite, sql_error},
    store::{Admin, Entry, Ingest as _, Receive as _, Stats, Subscribe as _},
};

use super::{
    answered,
    checker::Accepted,
    database::{Backend, Database},
};

/// The name of the source of all inbox processes.
const SOURCE: &str = "e2e";
/// The table of effects: no key keeps a second one out, and `n` says in which order they came.
const POSTGRES_TABLE: &str = "create table effect (n bigint generated always as identity, \
                              handler text not null, id text not null, key text)";
const SQLITE_TABLE: &str = "create table effect (n integer primary key autoincrement, \
                            handler text not null, id text not null, key text)";

/// An effect: the id and the key of its message.
type Effect = (String, Option<String>);

impl Database {
    /// Makes the table of effects.
    pub(crate) async fn open_effects(&self) {
        match &self.backend {
            Backend::Postgres { pool, .. } => {
                let made = sqlx::query(POSTGRES_TABLE).execute(pool).await;
                made.expect("a table");
            }
            Backend::Sqlite { store, .. } => {
                let made = store.write(|tx| {
                    tx.execute_batch(SQLITE_TABLE).map_err(sql_error)?;
                    Ok::<_, Error>(())
                });
                made.await.expect("a table");
            }
        }
    }

    /// The effects of a transactional handler that are committed, in their order.
    pub(crate) async fn effects(&self, handler: &str) -> Vec<Accepted> {
        let rows: Vec<Effect> = match &self.backend {
            Backend::Postgres { pool, .. } => {
                let all = "select id, key from effect where handler = $1 order by n";
                let all = sqlx::query_as(all).bind(handler).fetch_all(pool);
                all.await.expect("effects")
            }
            Backend::Sqlite { path, .. } => {
                // On a connection of its own, since a handler that is held keeps the file from
                // everybody who writes.
                read_sqlite(path, handler).expect("effects")
            }
        };
        let accepted = |(id, key)| Accepted {
            id,
            key,
            run: handler.to_owned(),
        };
        rows.into_iter().map(accepted).collect()
    }

    /// How many effects of a transactional handler are committed.
    pub(crate) async fn count_effects(&self, handler: &str) -> u64 {
        let Backend::Postgres { pool, .. } = &self.backend else {
            return self.effects(handler).await.len() as u64;
        };
        let count = "select count(*) from effect where handler = $1";
        let count = sqlx::query_scalar(count).bind(handler).fetch_one(pool);
        let count: i64 = count.await.expect("a count");
        count.unsigned_abs()
    }

    /// How many effects are committed, if the database answers.
    pub(crate) async fn effects_so_far(&self) -> Option<u64> {
        const COUNT: &str = "select count(*) from effect";
        let count: i64 = match &self.backend {
            Backend::Postgres { pool, .. } => {
                sqlx::query_scalar(COUNT).fetch_one(pool).await.ok()?
            }
            Backend::Sqlite { path, .. } => {
                let reader = rusqlite::Connection::open(path).ok()?;
                reader.query_row(COUNT, [], |row| row.get(0)).ok()?
            }
        };
        Some(count.unsigned_abs())
    }

    /// Orders one of the inbox processes to stand still where `order` says.
    pub(crate) fn order(&self, order: &str) {
        fs::write(self.file(order), "").expect("an order");
    }

    /// The queue of a handler.
    async fn queue(&self, handler: &str) -> (Box<dyn Admin>, Queue) {
        let name = HandlerName::new(handler).expect("a name");
        let queue: Box<dyn Admin> = match &self.backend {
            Backend::Postgres { store, .. } => {
                Box::new(store.queue_of(&name).await.expect("a queue"))
            }
            Backend::Sqlite { store, .. } => {
                Box::new(store.queue_of(&name).await.expect("a queue"))
            }
        };
        (queue, Queue::Inbox(name))
    }

    /// What a handler has to do.
    pub(crate) async fn handler_stats(&self, handler: &str) -> Stats {
        let (admin, queue) = self.queue(handler).await;
        answered(async || admin.stats(&queue).await).await
    }

    /// A handler's row of a message.
    pub(crate) async fn row(&self, handler: &str, id: &str) -> Option<Entry> {
        let id = MessageId::new(id).expect("an id");
        let (admin, queue) = self.queue(handler).await;
        admin.get(&queue, &id).await.expect("no error")
    }

    /// Removes the subscriptions of a handler.
    pub(crate) async fn retire(&self, handler: &str) -> bool {
        let name = HandlerName::new(handler).expect("a name");
        let retired = match &self.backend {
            Backend::Postgres { store, .. } => store.retire(&name).await,
            Backend::Sqlite { store, .. } => store.retire(&name).await,
        };
        retired.expect("no error")
    }

    /// How many messages were stored that nobody was subscribed to.
    pub(crate) async fn unrouted(&self) -> u64 {
        let unrouted = match &self.backend {
            Backend::Postgres { store, .. } => store.unrouted().await,
            Backend::Sqlite { store, .. } => store.unrouted().await,
        };
        unrouted.expect("a count")
    }

    /// How far the source was read, as its broker's adapter writes it.
    pub(crate) async fn position(&self) -> Option<String> {
        let name = SourceName::new(SOURCE).expect("a name");
        let position = answered(async || match &self.backend {
            Backend::Postgres { store, .. } => store.position(&name).await,
            Backend::Sqlite { store, .. } => store.position(&name).await,
        });
        position.await.map(|at| at.to_string())
    }
}

fn read_sqlite(path: &Path, handler: &str) -> rusqlite::Result<Vec<Effect>> {
    let reader = rusqlite::Connection::open(path)?;
    let mut all = reader.prepare("select id, key from effect where handler = ?1 order by n")?;
    all.query_map([handler], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
