//! The schema: one outbox in Postgres, made for a benchmark and removed after it.

use std::{
    env,
    future::Future,
    process,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result};
use iobox::{
    Outbox,
    message::Draft,
    postgres::{Config, PostgresStore},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::PgConnectOptions,
};

/// The environment variable with the URL of the server.
const URL: &str = "IOBOX_TEST_POSTGRES_URL";
/// The messages of one transaction.
const TRANSACTION: usize = 1_000;
/// The settings that the tables name.
const SETTINGS: [&str; 4] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One outbox, and a connection to look after it.
pub(crate) struct Schema {
    options: PgConnectOptions,
    name: String,
    partitions: u16,
    wake_up: bool,
    pub(crate) connection: PgConnection,
}

impl Schema {
    /// Makes one, hands it to `work`, and removes it.
    pub(crate) async fn with<T, F>(
        partitions: u16,
        wake_up: bool,
        work: impl FnOnce(Self) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let url = env::var(URL).with_context(|| {
            format!("{URL} names no Postgres; `cargo xtask bench` starts one and sets it")
        })?;
        let options =
            PgConnectOptions::from_str(&url).with_context(|| format!("{URL} cannot be read"))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iobox_bench_{}_{number}", process::id());
        let schema = Self {
            connection: options.connect().await.context("connecting")?,
            options: options.clone(),
            name: name.clone(),
            partitions,
            wake_up,
        };
        schema.store().await?.migrate().await?;
        let result = work(schema).await;
        let mut connection = options.connect().await.context("connecting")?;
        sqlx::query(AssertSqlSafe(format!("drop schema {name} cascade")))
            .execute(&mut connection)
            .await
            .context("removing the schema")?;
        connection.close().await?;
        result
    }

    /// A store on it, which shares nothing with other stores.
    pub(crate) async fn store(&self) -> Result<Arc<PostgresStore>> {
        let config = Config::builder()
            .schema(&self.name)
            .partitions(self.partitions)
            .wake_up(self.wake_up)
            .build()?;
        Ok(Arc::new(
            PostgresStore::connect(self.options.clone(), config).await?,
        ))
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        self.options.connect().await.context("connecting")
    }

    /// The qualified name of the table of messages.
    pub(crate) fn messages(&self) -> String {
        self.table("message")
    }

    /// The qualified name of a table.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Version and settings of the server, for the table.
    pub(crate) async fn describe(&mut self) -> Result<String> {
        let mut facts = vec![format!(
            "Postgres {}",
            self.setting("server_version").await?
        )];
        for name in SETTINGS {
            facts.push(format!("{name} {}", self.setting(name).await?));
        }
        Ok(facts.join(", "))
    }

    async fn setting(&mut self, name: &str) -> Result<String> {
        let row = sqlx::query("select current_setting($1)")
            .bind(name)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn run(&mut self, sql: String) -> Result<u64> {
        let done = sqlx::query(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await?;
        Ok(done.rows_affected())
    }

    /// Removes all messages.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        let messages = self.messages();
        let settled = self.table("settled");
        self.run(format!("truncate {messages}, {settled}")).await?;
        Ok(())
    }

    /// Enqueues `count` messages over `keys` keys, as an application does: in transactions.
    pub(crate) async fn enqueue(
        &mut self,
        count: usize,
        keys: usize,
        payload: usize,
    ) -> Result<()> {
        let outbox = Outbox::new(self.store().await?);
        let payload = vec![b'x'; payload];
        let mut next = 0;
        while next < count {
            let end = count.min(next + TRANSACTION);
            let drafts: Vec<Draft> = (next..end)
                .map(|number| {
                    Draft::new("bench.message", payload.clone())
                        .key(format_args!("key-{}", number % keys))
                })
                .collect();
            let mut tx = self.connection.begin().await?;
            outbox.enqueue(&mut tx, &drafts).await?;
            tx.commit().await?;
            next = end;
        }
        outbox.store().close().await;
        Ok(())
    }

    /// Inserts `count` messages on the server, so that none of them pass through this process.
    /// `key` is an SQL expression of the number `n`.
    pub(crate) async fn generate(&mut self, count: usize, key: &str, payload: usize) -> Result<()> {
        let (messages, partitions) = (self.messages(), self.partitions);
        let rows = self
            .run(format!(
                "insert into {messages}
                   (partition, id, topic, key, headers, payload, size, enqueued_at)
                 select get_byte(sha256(convert_to(m.key, 'UTF8')), 0) % {partitions}, m.id,
                   'bench.message', m.key, '[]', m.payload,
                   octet_length(m.id) + 13 + octet_length(m.key) + octet_length(m.payload),
                   clock_timestamp()
                 from (
                   select n, {key} as key,
                     -- As the library draws them: by time, then random.
                     '019ad000-' || lpad(to_hex(n / 4096), 4, '0') || '-7'
                       || lpad(to_hex(n % 4096), 3, '0') || '-8'
                       || substr(gen_random_uuid()::text, 21) as id,
                     convert_to(repeat('x', {payload}), 'UTF8') as payload
                   from generate_series(1, {count}) as n
                   offset 0
                 ) as m
                 order by m.n"
            ))
            .await?;
        anyhow::ensure!(usize::try_from(rows)? == count, "only {rows} were inserted");
        Ok(())
    }

    /// Brings tables into the state in which every contender starts: hint bits, statistics and dirty
    /// pages are written.
    pub(crate) async fn settle_down(&mut self, tables: &[&str]) -> Result<()> {
        let tables: Vec<_> = tables.iter().map(|table| self.table(table)).collect();
        self.run(format!("vacuum analyze {}", tables.join(", ")))
            .await?;
        if let Err(error) = self.run(String::from("checkpoint")).await {
            eprintln!("no checkpoint before the measurement: {error}");
        }
        Ok(())
    }

    /// How many messages are in the state of this name.
    pub(crate) async fn count(&mut self, state: &str) -> Result<usize> {
        let outbox = self.table("outbox");
        self.number(format!(
            "select count(*) from {outbox} where state = '{state}'"
        ))
        .await
    }

    /// The one number that a statement returns.
    pub(crate) async fn number(&mut self, sql: String) -> Result<usize> {
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await?;
        Ok(usize::try_from(row.try_get::<i64, _>(0)?)?)
    }
}
