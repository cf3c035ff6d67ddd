//! The fixture: a database file of a test's own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use iobox_core::{
    Result,
    message::Draft,
    queue::Queue,
    store::{Admin, Enqueued, Filter, Page, State},
};
use iobox_sqlite::{Config, ConfigBuilder, Failure, SqliteStore, rusqlite::Connection};
use tempfile::TempDir;

/// A folder that is removed at the end, with one database file.
pub(crate) struct File {
    folder: TempDir,
}

impl File {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    pub(crate) fn config(&self) -> ConfigBuilder {
        Config::builder(self.path())
    }

    /// A connection of the application's own.
    pub(crate) fn connect(&self) -> Connection {
        connect(&self.path())
    }

    pub(crate) fn edit(&self, sql: &str) {
        self.connect().execute_batch(sql).expect("an edit");
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        let conn = self.connect();
        conn.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    pub(crate) fn is_sound(&self) -> bool {
        let conn = self.connect();
        let found: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a check");
        found == "ok"
    }
}

pub(crate) fn connect(path: &Path) -> Connection {
    let conn = Connection::open(path).expect("the file");
    conn.busy_timeout(Duration::from_secs(5)).expect("patience");
    conn
}

pub(crate) fn open(config: ConfigBuilder) -> Arc<SqliteStore> {
    let config = config.build().expect("a configuration");
    Arc::new(SqliteStore::open(config).expect("a store"))
}

/// A file with a migrated store.
pub(crate) async fn migrated() -> (File, Arc<SqliteStore>) {
    let file = File::new();
    let store = open(file.config());
    store.migrate().await.expect("migrate");
    (file, store)
}

/// Enqueues in a transaction of its own.
pub(crate) async fn enqueue(store: &SqliteStore, drafts: Vec<Draft>) -> Vec<Enqueued> {
    try_enqueue(store, drafts).await.expect("an enqueue")
}

pub(crate) async fn try_enqueue(store: &SqliteStore, drafts: Vec<Draft>) -> Result<Vec<Enqueued>> {
    let outbox = store.clone();
    let written =
        store.write(move |tx| -> Result<_, Failure> { Ok(outbox.enqueue_sync(tx, &drafts)?) });
    Ok(written.await?)
}

/// The states of all rows by seq.
pub(crate) async fn states(store: &SqliteStore) -> Vec<State> {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let listed = store.list(&Queue::Outbox, &Filter::default(), page).await;
    listed
        .expect("a listing")
        .into_iter()
        .map(|entry| entry.state)
        .collect()
}
