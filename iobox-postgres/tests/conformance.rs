//! Certifies the store, for callers at each isolation level.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Error, ErrorKind, Result,
    message::{Draft, MessageId},
    partition::Partitions,
    store::{Enqueue, Enqueued},
};
use iobox_postgres::{ConfigBuilder, Duty, PostgresStore};
use iobox_testkit::suite::{Harness, Misfit, OpenTransaction};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tokio::sync::Mutex;

use crate::support::{Schema, connection, options, run};

/// The levels, as places in this list.
const LEVELS: [&str; 4] = [
    "begin isolation level read committed",
    "begin isolation level repeatable read",
    "begin isolation level serializable",
    "begin isolation level read committed",
];
/// Where the store and its callers have no more rights than their duties need.
const GRANTED: usize = 3;

struct Server<const LEVEL: usize> {
    store: Arc<PostgresStore>,
    partitions: Partitions,
    application: PgPool,
    shift: Mutex<Duration>,
    schema: Schema,
}

fn config(schema: &Schema, partitions: Partitions) -> ConfigBuilder {
    schema.config().partitions(partitions.count())
}

struct Open {
    store: Arc<PostgresStore>,
    tx: Transaction<'static, Postgres>,
}

#[async_trait]
impl<const LEVEL: usize> Harness for Server<LEVEL> {
    type Store = PostgresStore;
    type Open = Open;

    const CONCURRENT_WRITERS: bool = true;

    fn adapter() -> Option<String> {
        if LEVEL == GRANTED {
            return None;
        }
        let level = LEVELS[LEVEL].trim_start_matches("begin isolation level ");
        Some(format!(
            "PostgresStore, callers at {}",
            level.to_uppercase()
        ))
    }

    async fn server() -> Option<String> {
        let version = sqlx::query_scalar("select pg_catalog.current_setting('server_version')");
        let version: String = version.fetch_one(&mut connection().await).await.ok()?;
        let number = version.split(' ').next()?;
        Some(format!("PostgreSQL {number}"))
    }

    async fn fresh(partitions: Partitions) -> Self {
        let schema = Schema::new();
        let mut store = schema.migrated(partitions.count()).await;
        let mut application = options();
        if LEVEL == GRANTED {
            let worker = schema.role(Duty::Work).await;
            store = schema.store_as(worker, config(&schema, partitions)).await;
            application = schema.role(Duty::Write).await;
        }
        Self {
            store,
            partitions,
            application: PgPoolOptions::new()
                .max_connections(20)
                .connect_lazy_with(application),
            shift: Mutex::new(Duration::ZERO),
            schema,
        }
    }

    fn store(&self) -> &Arc<PostgresStore> {
        &self.store
    }

    async fn another(&self) -> Arc<PostgresStore> {
        let config = config(&self.schema, self.partitions);
        if LEVEL == GRANTED {
            let worker = format!("{}_work", self.schema.0);
            let worker = options().username(&worker).password("p");
            return self.schema.store_as(worker, config).await;
        }
        self.schema.store(config).await
    }

    async fn begin(&self) -> Result<Open> {
        let tx = self
            .application
            .begin_with(LEVELS[LEVEL])
            .await
            .map_err(from_application)?;
        Ok(Open {
            store: Arc::clone(&self.store),
            tx,
        })
    }

    async fn advance(&self, by: Duration) {
        // Held until the function is replaced: Postgres does not replace one twice at a time.
        let mut shift = self.shift.lock().await;
        *shift += by;
        let micros = shift.as_micros();
        let sql = format!(
            "create or replace function \"{}\".clock() returns timestamptz language sql volatile \
             as 'select pg_catalog.clock_timestamp() + interval ''{micros} microseconds'''",
            self.schema.0
        );
        run(&mut connection().await, sql).await;
    }

    async fn corrupt(&self, id: &MessageId) {
        let sql = format!(
            "update \"{}\".message set topic = 'a b' where id = $1",
            self.schema.0
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(id.as_str())
            .execute(&mut connection().await)
            .await
            .expect("spoil a row");
    }

    async fn misfit(misfit: Misfit) -> Option<Arc<PostgresStore>> {
        let schema = Schema::new();
        let config = match misfit {
            Misfit::NotMigrated => schema.config(),
            Misfit::Newer => {
                schema.migrated(16).await;
                let newer = format!(
                    "insert into \"{}\".migration (version, name) values (1000, 'later')",
                    schema.0
                );
                run(&mut connection().await, newer).await;
                schema.config()
            }
            Misfit::Partitions { made, configured } => {
                schema.migrated(made.count()).await;
                schema.config().partitions(configured.count())
            }
        };
        let store = schema.store(config).await;
        // The case gets no handle that could drop the schema.
        std::mem::forget(schema);
        Some(store)
    }
}

#[async_trait]
impl OpenTransaction for Open {
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.store.enqueue(&mut self.tx, drafts).await
    }

    async fn commit(self) -> Result<()> {
        self.tx.commit().await.map_err(from_application)
    }

    async fn rollback(self) -> Result<()> {
        self.tx.rollback().await.map_err(from_application)
    }
}

/// What an application makes of its own errors.
fn from_application(source: sqlx::Error) -> Error {
    let code = source
        .as_database_error()
        .and_then(|database| database.code().map(std::borrow::Cow::into_owned));
    let kind = match code.as_deref() {
        Some("40001" | "40P01") => ErrorKind::Conflict,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the transaction of the application failed").with_source(source)
}

mod read_committed {
    use super::Server;
    iobox_testkit::store_suite!(Server<0>);
}

mod repeatable_read {
    use super::Server;
    iobox_testkit::store_suite!(Server<1>);
}

mod serializable {
    use super::Server;
    iobox_testkit::store_suite!(Server<2>);
}

/// Programs run as roles that own nothing.
mod granted {
    use super::{GRANTED, Server};
    iobox_testkit::store_suite!(Server<GRANTED>);
    iobox_testkit::inbox_suite!(Server<GRANTED>);
}

// The cases of the inbox open their transactions themselves.
iobox_testkit::inbox_suite!(Server<0>);
