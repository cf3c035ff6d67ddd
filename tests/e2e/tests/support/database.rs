//! Databases: business tables beside an outbox, in Postgres or in SQLite.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use iobox::{
    Error, ErrorKind, Outbox, Result,
    message::{Draft, MessageId},
    postgres::{self, PostgresStore},
    queue::Queue,
    sqlite::{self, SqliteStore, rusqlite, sql_error},
    store::{Admin, Enqueued, Entry, Filter, Page, Selection, State, Stats},
};
use iobox_testkit::servers::{Postgres, unique_schema};
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{
    LONG, answered,
    checker::{Committed, Report, check},
    log, until,
    writers::Plan,
};

/// The tables of the business.
const TABLES: &str = "
create table account (key text primary key, n bigint not null);
create table history (id text primary key, key text, position bigint not null);
";

/// A database with business tables, an outbox, and a folder for the files of one test.
#[derive(Debug)]
pub(crate) struct Database {
    folder: TempDir,
    pub(super) backend: Backend,
}

#[derive(Debug)]
pub(super) enum Backend {
    Postgres {
        url: String,
        schema: String,
        store: Box<PostgresStore>,
        pool: PgPool,
        /// Shared by the tests of this process; `None` when the test has a server of its own.
        _server: Option<Arc<Postgres>>,
    },
    Sqlite {
        path: PathBuf,
        store: SqliteStore,
    },
}

impl Database {
    /// One in the server that the tests of this process share.
    pub(crate) async fn postgres() -> Arc<Self> {
        let server = spawn_blocking(Postgres::shared).await.expect("no panic");
        let server = server.expect("a server");
        let url = server.url().to_owned();
        Self::at(url, Some(server)).await
    }

    /// One in the server at `url`.
    pub(crate) async fn at(url: String, server: Option<Arc<Postgres>>) -> Arc<Self> {
        let schema = unique_schema("e2e");
        let config = postgres::Config::builder().schema(schema.clone()).build();
        let store = PostgresStore::connect_url(&url, config.expect("a configuration")).await;
        let store = store.expect("a store");
        store.migrate().await.expect("tables");
        let options = PgConnectOptions::from_str(&url).expect("a URL");
        let pool = PgPoolOptions::new()
            .max_connections(10)
            // Also bounds the pauses between its tries while a server is down, at a fifth of it.
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.options([("search_path", schema.as_str())]))
            .await
            .expect("connections");
        sqlx::raw_sql(TABLES).execute(&pool).await.expect("tables");
        Arc::new(Self {
            folder: TempDir::new().expect("a folder"),
            backend: Backend::Postgres {
                url,
                schema,
                store: Box::new(store),
                pool,
                _server: server,
            },
        })
    }

    /// One in a new file.
    pub(crate) async fn sqlite() -> Arc<Self> {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("business.db");
        let store = SqliteStore::open(sqlite::Config::new(&path)).expect("a store");
        store.migrate().await.expect("tables");
        let made = store.write(|tx| tx.execute_batch(TABLES).map_err(sql_error));
        made.await.expect("tables");
        Arc::new(Self {
            folder,
            backend: Backend::Sqlite { path, store },
        })
    }

    /// Makes the clock of its tables, in Postgres, wrong by so much.
    pub(crate) async fn shift_clock(&self, by: &str) {
        let Backend::Postgres { schema, pool, .. } = &self.backend else {
            panic!("only in Postgres");
        };
        let sql = format!(
            "create or replace function \"{schema}\".clock() returns timestamptz language sql volatile
             as $$ select pg_catalog.clock_timestamp() + interval '{by}' $$"
        );
        let shifted = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await;
        shifted.expect("a clock");
    }

    /// Removes what is in a server that others use too.
    pub(crate) async fn remove(&self) {
        if let Backend::Postgres {
            schema,
            store,
            pool,
            ..
        } = &self.backend
        {
            store.close().await;
            let drop = sqlx::AssertSqlSafe(format!("drop schema {schema} cascade"));
            sqlx::raw_sql(drop).execute(pool).await.expect("a drop");
            pool.close().await;
        }
    }

    /// Those arguments of a process that name it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match &self.backend {
            Backend::Postgres { url, schema, .. } => {
                let parts = ["--postgres", url, "--schema", schema];
                parts.map(str::to_owned).to_vec()
            }
            Backend::Sqlite { path, .. } => {
                vec!["--sqlite".to_owned(), path.display().to_string()]
            }
        }
    }

    /// Its URL and schema, where it is a Postgres.
    pub(crate) fn schema(&self) -> (&str, &str) {
        match &self.backend {
            Backend::Postgres { url, schema, .. } => (url, schema),
            Backend::Sqlite { .. } => panic!("not a Postgres"),
        }
    }

    /// The log of its processes.
    pub(crate) fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// What these rows and the log of its relays have in common, and what not.
    pub(crate) fn report(&self, rows: &[Committed]) -> Report {
        check(rows, &log::read(&self.log()))
    }

    /// The progress of the log.
    pub(crate) fn progress(&self) -> log::Progress {
        log::Progress::new(self.log())
    }

    /// A file of this test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn admin(&self) -> &dyn Admin {
        match &self.backend {
            Backend::Postgres { store, .. } => store.as_ref(),
            Backend::Sqlite { store, .. } => store,
        }
    }

    pub(crate) async fn stats(&self) -> Stats {
        answered(async || self.admin().stats(&Queue::Outbox).await).await
    }

    pub(crate) async fn get(&self, id: &str) -> Entry {
        let id = MessageId::new(id).expect("an id");
        let entry = self
            .admin()
            .get(&Queue::Outbox, &id)
            .await
            .expect("no error");
        entry.expect("a message")
    }

    /// Closes a message for ever, as a person would.
    pub(crate) async fn discard(&self, id: &str) {
        let selection = Selection::One(MessageId::new(id).expect("an id"));
        let discarded = self
            .admin()
            .discard(&Queue::Outbox, &selection, false)
            .await;
        discarded.expect("a discard");
    }

    /// All messages in these states.
    pub(crate) async fn list(&self, states: &[State]) -> Vec<Entry> {
        let filter = Filter {
            states: states.to_vec(),
            ..Filter::default()
        };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = Page {
                after,
                limit: 1_000,
            };
            let entries = self.admin().list(&Queue::Outbox, &filter, page).await;
            let entries = entries.expect("a page");
            let Some(last) = entries.last() else {
                return all;
            };
            after = Some(last.seq);
            all.extend(entries);
        }
    }

    /// Waits until nothing is left to publish.
    pub(crate) async fn drained(&self) {
        until(LONG, "an empty backlog", async || {
            // A server that was just started may have none yet that answers.
            let Ok(stats) = self.admin().stats(&Queue::Outbox).await else {
                return false;
            };
            stats.unsettled() == 0
        })
        .await;
    }

    /// Makes accounts `k0` to `k<count - 1>`.
    pub(crate) async fn open_accounts(&self, count: usize) {
        let keys: Vec<String> = (0..count).map(|at| format!("k{at}")).collect();
        match &self.backend {
            Backend::Postgres { pool, .. } => {
                sqlx::query("insert into account select unnest($1::text[]), 0")
                    .bind(keys)
                    .execute(pool)
                    .await
                    .expect("accounts");
            }
            Backend::Sqlite { store, .. } => {
                let opened = store.write(move |tx| {
                    let mut insert = tx
                        .prepare("insert into account values (?1, 0)")
                        .map_err(sql_error)?;
                    for key in keys {
                        insert.execute([key]).map_err(sql_error)?;
                    }
                    Ok::<_, Error>(())
                });
                opened.await.expect("accounts");
            }
        }
    }

    /// Runs one transaction of the business: the rows of its keys first, then the messages, then
    /// the history. Returns what it wrote into that.
    pub(crate) async fn write(&self, plan: Plan) -> Result<Vec<Committed>> {
        match &self.backend {
            Backend::Postgres { store, pool, .. } => {
                let written = write_postgres(store, pool, plan).await;
                // For a writer all errors of the server are the same: he starts again.
                written.map_err(|error| Error::unavailable("no commit").with_source(error))
            }
            Backend::Sqlite { store, .. } => {
                let (outbox, rolls_back) = (store.clone(), plan.rolls_back);
                let written = store.write(move |tx| {
                    let rows = write_sqlite(&outbox, tx, &plan)?;
                    if rolls_back {
                        return Err(Error::new(ErrorKind::Rejected, "rolled back"));
                    }
                    Ok(rows)
                });
                match written.await {
                    Err(error) if rolls_back && error.kind() == ErrorKind::Rejected => {
                        Ok(Vec::new())
                    }
                    written => written,
                }
            }
        }
    }

    /// What was committed, as the business tables say.
    pub(crate) async fn history(&self) -> Vec<Committed> {
        const ALL: &str = "select id, key, position from history order by key, position";
        let rows: Vec<(String, Option<String>, i64)> = match &self.backend {
            Backend::Postgres { pool, .. } => {
                sqlx::query_as(ALL).fetch_all(pool).await.expect("rows")
            }
            Backend::Sqlite { store, .. } => {
                let read = store.write(|tx| {
                    let mut all = tx.prepare(ALL)?;
                    let fields =
                        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    all.query_map([], fields)?
                        .collect::<Result<_, _>>()
                        .map_err(sqlite::Failure::from)
                });
                read.await.expect("rows")
            }
        };
        let committed = |(id, key, position)| Committed { id, key, position };
        rows.into_iter().map(committed).collect()
    }
}

/// The messages of a plan, those of its keys taking turns, with the number each has in its key.
fn messages(plan: &Plan, lasts: &[i64]) -> Vec<(Option<String>, i64, Draft)> {
    let mut messages = Vec::new();
    for turn in 0..plan.keys.iter().map(|(_, count)| *count).max().unwrap_or(0) {
        for ((key, count), last) in plan.keys.iter().zip(lasts) {
            if turn < *count {
                let position = last - count + turn + 1;
                let mut draft = Draft::new("accounts.moved", format!("{key} {position}")).key(key);
                if let Some(id) = &plan.id {
                    draft = draft.id(format!("{id}{key}-{position}"));
                }
                messages.push((Some(key.clone()), position, draft));
            }
        }
    }
    for at in 0..plan.keyless {
        let mut draft = Draft::new("accounts.seen", at.to_string());
        if let Some(id) = &plan.id {
            draft = draft.id(format!("{id}keyless-{at}"));
        }
        messages.push((None, at, draft));
    }
    messages
}

async fn write_postgres(
    store: &PostgresStore,
    pool: &PgPool,
    plan: Plan,
) -> anyhow::Result<Vec<Committed>> {
    let mut tx = pool.begin().await?;
    let lasts = add(&mut tx, &plan.keys).await?;
    let messages = messages(&plan, &lasts);
    let drafts: Vec<Draft> = messages.iter().map(|(_, _, draft)| draft.clone()).collect();
    let enqueued = Outbox::new(store.clone()).enqueue(&mut tx, drafts).await?;
    let ids: Vec<&str> = enqueued.iter().map(|new| new.id().as_str()).collect();
    let keys: Vec<Option<&str>> = messages.iter().map(|(key, ..)| key.as_deref()).collect();
    let positions: Vec<i64> = messages.iter().map(|(_, position, _)| *position).collect();
    let insert = "insert into history select * from unnest($1::text[], $2::text[], $3::bigint[])";
    let insert = sqlx::query(insert).bind(ids).bind(keys).bind(positions);
    insert.execute(&mut *tx).await?;
    if plan.rolls_back {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    tx.commit().await?;
    Ok(rows(messages, &enqueued))
}

/// The rows of the history.
fn rows(messages: Vec<(Option<String>, i64, Draft)>, enqueued: &[Enqueued]) -> Vec<Committed> {
    let row = |((key, position, _), new): ((Option<String>, i64, Draft), &Enqueued)| Committed {
        id: new.id().to_string(),
        key,
        position,
    };
    messages.into_iter().zip(enqueued).map(row).collect()
}

/// Counts the messages of each key in its row, and returns the last number of each.
///
/// The rows are locked one after the other, so that no two transactions wait for each other.
async fn add(tx: &mut PgConnection, keys: &[(String, i64)]) -> sqlx::Result<Vec<i64>> {
    let (names, counts): (Vec<&str>, Vec<i64>) = keys
        .iter()
        .map(|(key, count)| (key.as_str(), *count))
        .unzip();
    sqlx::query("select from account where key = any($1) order by key for update")
        .bind(&names)
        .execute(&mut *tx)
        .await?;
    let update = "update account set n = n + p.count from unnest($1::text[], $2::bigint[]) \
                  as p(key, count) where account.key = p.key returning account.key, n";
    let update = sqlx::query_as(update).bind(&names).bind(counts);
    let lasts: HashMap<String, i64> = update.fetch_all(tx).await?.into_iter().collect();
    Ok(names.iter().map(|name| lasts[*name]).collect())
}

fn write_sqlite(
    outbox: &SqliteStore,
    tx: &rusqlite::Transaction<'_>,
    plan: &Plan,
) -> Result<Vec<Committed>> {
    let mut lasts = Vec::new();
    for (key, count) in &plan.keys {
        let mut update = tx
            .prepare_cached("update account set n = n + ?2 where key = ?1 returning n")
            .map_err(sql_error)?;
        let last = update.query_row((key, count), |row| row.get(0));
        lasts.push(last.map_err(sql_error)?);
    }
    let messages = messages(plan, &lasts);
    let drafts: Vec<Draft> = messages.iter().map(|(_, _, draft)| draft.clone()).collect();
    let enqueued = outbox.enqueue_sync(tx, &drafts)?;
    let mut insert = tx
        .prepare_cached("insert into history values (?1, ?2, ?3)")
        .map_err(sql_error)?;
    for ((key, position, _), id) in messages.iter().zip(enqueued.iter().map(Enqueued::id)) {
        insert
            .execute((id.as_str(), key, position))
            .map_err(sql_error)?;
    }
    drop(insert);
    Ok(rows(messages, &enqueued))
}
