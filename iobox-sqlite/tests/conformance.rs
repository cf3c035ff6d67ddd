//! The conformance suite, run against the SQLite store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::{Draft, MessageId},
    partition::Partitions,
    store::{Enqueue, Enqueued},
};
use iobox_sqlite::{
    Config, SqliteStore, SqliteTx,
    rusqlite::{self, Connection},
};
use iobox_testkit::suite::{Harness, Misfit, OpenTransaction};
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
    partitions: Partitions,
    store: Arc<SqliteStore>,
}

struct Open {
    store: Arc<SqliteStore>,
    tx: SqliteTx,
}

impl Sqlite {
    fn empty(partitions: Partitions) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let store = open(&folder.path().join("test.db"), partitions);
        Self {
            folder,
            partitions,
            store,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    fn edit(&self, sql: &str) {
        let conn = Connection::open(self.path()).expect("the file");
        conn.busy_timeout(Duration::from_secs(5)).expect("patience");
        conn.execute_batch(sql).expect("an edit");
    }

    fn open(&self, partitions: Partitions) -> Arc<SqliteStore> {
        open(&self.path(), partitions)
    }
}

fn open(path: &Path, partitions: Partitions) -> Arc<SqliteStore> {
    let config = Config::builder(path).partitions(partitions.count()).build();
    let store = config.and_then(SqliteStore::open);
    Arc::new(store.expect("a store"))
}

#[async_trait]
impl Harness for Sqlite {
    type Store = SqliteStore;
    type Open = Open;

    const CONCURRENT_WRITERS: bool = false;

    fn adapter() -> Option<String> {
        Some(String::from("SqliteStore"))
    }

    async fn server() -> Option<String> {
        Some(format!("SQLite {}", rusqlite::version()))
    }

    async fn fresh(partitions: Partitions) -> Self {
        let harness = Self::empty(partitions);
        harness.store.migrate().await.expect("migrate");
        harness
    }

    fn store(&self) -> &Arc<SqliteStore> {
        &self.store
    }

    async fn another(&self) -> Arc<SqliteStore> {
        self.open(self.partitions)
    }

    async fn begin(&self) -> Result<Open> {
        Ok(Open {
            store: Arc::clone(&self.store),
            tx: self.store.begin().await?,
        })
    }

    async fn advance(&self, by: Duration) {
        let ms = by.as_millis();
        self.edit(&format!(
            "UPDATE iobox_meta SET clock_shift_ms = clock_shift_ms + {ms}"
        ));
    }

    async fn corrupt(&self, id: &MessageId) {
        let id = id.as_str().replace('\'', "''");
        self.edit(&format!(
            "UPDATE iobox_outbox SET topic = 'a b' WHERE id = '{id}'"
        ));
    }

    async fn misfit(misfit: Misfit) -> Option<Arc<SqliteStore>> {
        let made = match misfit {
            Misfit::Partitions { made, .. } => made,
            _ => Partitions::DEFAULT,
        };
        let mut harness = if misfit == Misfit::NotMigrated {
            Self::empty(made)
        } else {
            Self::fresh(made).await
        };
        // The store outlives the harness, and its file must outlive the store.
        harness.folder.disable_cleanup(true);
        let store = match misfit {
            Misfit::NotMigrated => Arc::clone(&harness.store),
            Misfit::Newer => {
                harness.edit("INSERT INTO iobox_migration VALUES (1000, 0)");
                Arc::clone(&harness.store)
            }
            Misfit::Partitions { configured, .. } => harness.open(configured),
        };
        Some(store)
    }
}

#[async_trait]
impl OpenTransaction for Open {
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.store.enqueue(&mut self.tx, drafts).await
    }

    async fn commit(self) -> Result<()> {
        self.tx.commit().await
    }

    async fn rollback(self) -> Result<()> {
        self.tx.rollback().await
    }
}

iobox_testkit::store_suite!(Sqlite);
iobox_testkit::inbox_suite!(Sqlite);
