//! What the tests share: a schema of their own each, on the server that the environment names.

use std::{str::FromStr, sync::Arc, time::Duration};

use iobox_core::{
    message::{Draft, MessageId},
    partition::{Partition, Partitions},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Change, Enqueue, Enqueued, Epoch, FetchPartition, FetchRequest,
        Fetched, Grant, InstanceId, Pending, RenewRequest, Renewed, Settled, Settlement, Store,
        Verdict,
    },
};
use iobox_postgres::{Config, ConfigBuilder, Duty, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The server to test on.
pub(crate) fn url() -> String {
    std::env::var("IOBOX_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "IOBOX_TEST_POSTGRES_URL is not set: name a PostgreSQL 15 or later whose user may \
             create schemas and whose max_prepared_transactions is at least 8, for example \
             postgres://app@127.0.0.1:5432/test"
        )
    })
}

/// Its options.
pub(crate) fn options() -> PgConnectOptions {
    PgConnectOptions::from_str(&url()).expect("IOBOX_TEST_POSTGRES_URL can be read")
}

/// A connection of an application or of a person.
pub(crate) async fn connection() -> PgConnection {
    PgConnection::connect_with(&options())
        .await
        .expect("the server answers")
}

/// Runs statements that were made in a test.
pub(crate) async fn run(connection: &mut PgConnection, sql: impl Into<String>) {
    let sql = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The one number that a statement returns.
pub(crate) async fn number(connection: &mut PgConnection, sql: impl Into<String>) -> i64 {
    let sql = sql.into();
    sqlx::query(AssertSqlSafe(sql.clone()))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .get(0)
}

/// A schema of a test, dropped with it.
pub(crate) struct Schema(pub(crate) String);

impl Schema {
    pub(crate) fn new() -> Self {
        Self(format!("t_{}", Uuid::now_v7().simple()))
    }

    pub(crate) fn config(&self) -> ConfigBuilder {
        Config::builder().schema(&self.0).pool_size(4)
    }

    pub(crate) async fn store(&self, config: ConfigBuilder) -> Arc<PostgresStore> {
        self.store_as(options(), config).await
    }

    pub(crate) async fn store_as(
        &self,
        options: PgConnectOptions,
        config: ConfigBuilder,
    ) -> Arc<PostgresStore> {
        let config = config.build().expect("the configuration is valid");
        let store = PostgresStore::connect(options, config)
            .await
            .expect("the server answers");
        Arc::new(store)
    }

    /// Makes a role that may log in and has what this duty needs, and returns how to log in. What everybody
    /// may do by default, nobody may do here.
    pub(crate) async fn role(&self, duty: Duty) -> PgConnectOptions {
        let suffix = if duty == Duty::Work { "work" } else { "write" };
        let role = format!("{}_{suffix}", self.0);
        let config = self.config().build().expect("the configuration is valid");
        let grants = PostgresStore::grants_sql(&config, duty, &role).expect("a script");
        let made = format!(
            "revoke execute on all functions in schema \"{}\" from public;
             create role \"{role}\" login password 'p'; {grants}",
            self.0
        );
        run(&mut connection().await, made).await;
        options().username(&role).password("p")
    }

    /// A migrated store with this many partitions.
    pub(crate) async fn migrated(&self, partitions: u16) -> Arc<PostgresStore> {
        let store = self.store(self.config().partitions(partitions)).await;
        store.migrate().await.expect("migrate");
        store
    }
}

impl Drop for Schema {
    /// On a thread and a runtime of its own: the test's runtime may be shutting down.
    fn drop(&mut self) {
        // With the roles that were made for it.
        let sql = format!(
            "drop schema if exists \"{0}\" cascade; drop role if exists \"{0}_work\", \"{0}_write\"",
            self.0
        );
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut connection = connection().await;
                run(&mut connection, "set lock_timeout = '5s'").await;
                // A session of the test may still hold a lock for a moment.
                for _ in 0..3 {
                    let dropped = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
                        .execute(&mut connection)
                        .await;
                    if dropped.is_ok() {
                        return;
                    }
                }
            });
        });
        let _ = dropping.join();
    }
}

/// An instance that owns every partition it was granted.
pub(crate) struct Owner {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) instance: InstanceId,
    pub(crate) granted: Vec<Grant>,
}

impl Owner {
    pub(crate) async fn new(store: &Arc<PostgresStore>) -> Self {
        let instance = InstanceId::new(Uuid::now_v7());
        let mut owner = Self {
            store: Arc::clone(store),
            instance,
            granted: Vec::new(),
        };
        assert_eq!(
            owner.renew(true, Duration::from_secs(60)).await,
            Renewed::Alive
        );
        owner.acquire().await;
        owner
    }

    pub(crate) async fn renew(&self, register: bool, ttl: Duration) -> Renewed {
        self.store
            .renew(&RenewRequest {
                queue: Queue::Outbox,
                instance: self.instance,
                ttl,
                register,
                in_flight: 0,
            })
            .await
            .expect("renew")
    }

    pub(crate) async fn acquire(&mut self) {
        let acquired = self
            .store
            .acquire(&AcquireRequest {
                queue: Queue::Outbox,
                instance: self.instance,
                held: self
                    .granted
                    .iter()
                    .map(|grant| (grant.partition, grant.epoch))
                    .collect(),
            })
            .await
            .expect("acquire");
        match acquired {
            Acquired::Share { granted, .. } => self.granted.extend(granted),
            Acquired::Gone => panic!("the instance is gone"),
        }
    }

    pub(crate) fn epoch(&self, partition: Partition) -> Epoch {
        self.granted
            .iter()
            .find(|grant| grant.partition == partition)
            .map(|grant| grant.epoch)
            .expect("the partition is owned")
    }

    pub(crate) fn request(&self, limit: usize) -> FetchRequest {
        FetchRequest {
            queue: Queue::Outbox,
            partitions: self
                .granted
                .iter()
                .map(|grant| FetchPartition {
                    partition: grant.partition,
                    epoch: grant.epoch,
                    limit,
                    held: Vec::new(),
                    full: Vec::new(),
                    release: Vec::new(),
                    sweep: false,
                })
                .collect(),
            limit,
            bytes: 64 << 20,
        }
    }

    pub(crate) async fn fetch(&self, limit: usize) -> Fetched {
        self.store.fetch(&self.request(limit)).await.expect("fetch")
    }

    pub(crate) fn settlement(&self, row: &Pending, change: Change) -> Settlement {
        Settlement {
            partition: row.partition,
            epoch: self.epoch(row.partition),
            seq: row.seq,
            revision: row.revision,
            attempt: row.attempt + 1,
            change,
        }
    }

    pub(crate) async fn settle(&self, rows: &[Pending], change: &Change) -> Vec<Settled> {
        let settlements: Vec<_> = rows
            .iter()
            .map(|row| self.settlement(row, change.clone()))
            .collect();
        self.store.settle(&settlements).await.expect("settle")
    }
}

pub(crate) const DONE: Change = Change::Verdict(Verdict::Done { duplicate: false });

/// Enqueues in a transaction of its own.
pub(crate) async fn enqueue(store: &PostgresStore, drafts: &[Draft]) -> Vec<Enqueued> {
    let mut connection = connection().await;
    let mut tx = connection.begin().await.expect("begin");
    let enqueued = store.enqueue(&mut tx, drafts).await.expect("enqueue");
    tx.commit().await.expect("commit");
    enqueued
}

pub(crate) fn id(text: &str) -> MessageId {
    MessageId::new(text).expect("a valid id")
}

pub(crate) fn partitions(count: u16) -> Partitions {
    Partitions::new(count).expect("a valid count")
}

/// Waits until so many statements about the tables of `schema` wait for a lock; `task` must not end
/// meanwhile.
pub(crate) async fn until_locked_out<T>(schema: &Schema, statements: i64, task: &JoinHandle<T>) {
    let waits = format!(
        "select count(*) from pg_stat_activity
         where wait_event_type = 'Lock' and query like '%\"{}\"%'",
        schema.0
    );
    let mut watch = connection().await;
    while number(&mut watch, waits.clone()).await < statements {
        assert!(!task.is_finished(), "nothing was in its way");
    }
}
