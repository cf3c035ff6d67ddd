//! The file: one outbox in SQLite, in a folder that is removed with it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use iobox::{
    message::Draft,
    sqlite::{Config, Failure, SqliteStore, rusqlite::Connection},
};
use tempfile::TempDir;

/// The messages of one transaction.
const TRANSACTION: usize = 1_000;

/// One outbox in a file.
pub(crate) struct File {
    folder: TempDir,
}

impl File {
    /// Makes one.
    pub(crate) async fn create() -> Result<Self> {
        // Not the usual folder for temporary files, which may lie in memory: the figures are about
        // a disk.
        let folder = tempfile::Builder::new()
            .prefix("iobox-bench-")
            .tempdir_in("target")
            .or_else(|_| tempfile::tempdir())
            .context("making a folder")?;
        let file = Self { folder };
        file.store()?.migrate().await?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bench.db")
    }

    /// A store on it, which shares nothing with other stores.
    pub(crate) fn store(&self) -> Result<SqliteStore> {
        Ok(SqliteStore::open(Config::new(self.path()))?)
    }

    /// A connection with the settings of a store's.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(self.path())?;
        connection.busy_timeout(Config::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    }

    /// The version and settings of SQLite, for the table.
    pub(crate) fn describe(&self) -> Result<String> {
        let connection = self.connect()?;
        let version: String =
            connection.query_row("select sqlite_version()", [], |row| row.get(0))?;
        let mode: String = connection.query_row("pragma journal_mode", [], |row| row.get(0))?;
        Ok(format!(
            "SQLite {version}, journal_mode {mode}, synchronous FULL"
        ))
    }

    /// Enqueues `count` messages over `keys` keys, in transactions.
    pub(crate) async fn enqueue(&self, count: usize, keys: usize, payload: usize) -> Result<()> {
        let store = self.store()?;
        let mut next = 0;
        while next < count {
            let end = count.min(next + TRANSACTION);
            let drafts: Vec<Draft> = (next..end)
                .map(|number| {
                    Draft::new("bench.message", vec![b'x'; payload])
                        .key(format_args!("key-{}", number % keys))
                })
                .collect();
            let outbox = store.clone();
            store
                .write(move |tx| -> Result<(), Failure> {
                    outbox.enqueue_sync(tx, &drafts)?;
                    Ok(())
                })
                .await
                .map_err(|failure| anyhow::anyhow!("enqueueing: {failure:?}"))?;
            next = end;
        }
        drop(store);
        self.connect()?
            .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Fails unless all `count` messages are done.
    pub(crate) fn all_done(&self, count: usize) -> Result<()> {
        let done: i64 = self.connect()?.query_row(
            "select count(*) from iobox_messages where state = 'done'",
            [],
            |row| row.get(0),
        )?;
        ensure!(
            usize::try_from(done)? == count,
            "only {done} of {count} are done"
        );
        Ok(())
    }
}
