//! Enqueueing: writing messages inside of a caller's transaction.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    message::Draft,
    queue::Queue,
    store::{Enqueue, Enqueued},
};
use rusqlite::{Connection, Transaction, params};

use super::{Inner, SqliteStore};
use crate::{SqliteTx, connection::in_transaction, error::Failure, migrate, open::still_open};

impl SqliteStore {
    /// Writes `drafts` in order into a transaction of the caller: they become messages if and only
    /// if it commits.
    ///
    /// The transaction may be one of [`write`](Self::write) or one of a connection of the caller's
    /// own to the same file. Begin such a one with `BEGIN IMMEDIATE`
    /// (`TransactionBehavior::Immediate`) and give the connection a busy timeout; its
    /// `synchronous` setting decides whether its commits survive the loss of power. Call
    /// [`wake`](iobox_core::Outbox::wake) after the commit, or leave it to polling.
    ///
    /// All drafts are checked before anything is written, and when an error is returned nothing of
    /// them was written.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) for a draft that breaks a bound, and when the
    /// tables are not there; [`Conflict`](iobox_core::ErrorKind::Conflict) when the transaction
    /// read before somebody else committed: roll it back and run it again.
    pub fn enqueue_sync(&self, tx: &Transaction<'_>, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        Ok(self.inner.enqueue(tx, drafts)?)
    }
}

impl Inner {
    /// Writes drafts through any connection to the file that has a transaction open.
    pub(crate) fn enqueue(
        &self,
        conn: &Connection,
        drafts: &[Draft],
    ) -> Result<Vec<Enqueued>, Failure> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let results = savepoint(conn, || self.insert(conn, drafts))?;
        self.enqueues.fetch_add(1, Ordering::Relaxed);
        self.signal.enqueued();
        Ok(results)
    }

    fn insert(&self, conn: &Connection, drafts: &[Draft]) -> Result<Vec<Enqueued>, Failure> {
        self.known(&Queue::Outbox)?;
        let meta = migrate::meta(conn, &self.sql, self.config.partitions)?;
        let sealed = drafts
            .iter()
            .map(|draft| {
                draft.seal(
                    meta.info.origin,
                    self.config.limits,
                    self.config.ids.as_ref(),
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let mut insert = conn.prepare_cached(&self.sql.insert)?;
        let mut insert_content = conn.prepare_cached(&self.sql.insert_content)?;
        let mut insert_id = conn.prepare_cached(&self.sql.insert_id)?;
        let mut results = Vec::with_capacity(sealed.len());
        for sealed in sealed {
            let message = sealed.message;
            let id = message.id().clone();
            if !sealed.generated && insert_id.execute(params![id.as_str(), meta.now])? == 0 {
                results.push(Enqueued::Duplicate(id));
                continue;
            }
            insert.execute(params![
                self.config.partitions.of_message(&message).number(),
                id.as_str(),
                message.topic().as_str(),
                message.key().map(|key| key.as_str()),
                i64::try_from(message.size())
                    .map_err(|_| Error::internal("a message is larger than its bounds"))?,
                meta.now,
            ])?;
            insert_content.execute(params![
                conn.last_insert_rowid(),
                message.headers().to_json(),
                &message.payload()[..],
            ])?;
            results.push(Enqueued::New(id));
        }
        Ok(results)
    }
}

/// Runs `work` inside of a savepoint: an error takes back what it wrote. A transaction that SQLite rolled
/// back, because of an error that its caller passed over, is refused: the savepoint would be one of its own.
pub(crate) fn savepoint<T>(
    conn: &Connection,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    still_open(conn)?;
    conn.prepare_cached("SAVEPOINT iobox")?.execute([])?;
    let result = work();
    if result.is_err() && in_transaction(conn) {
        conn.execute_batch("ROLLBACK TO iobox")?;
    }
    if in_transaction(conn) {
        conn.prepare_cached("RELEASE iobox")?.execute([])?;
    }
    result
}

#[async_trait]
impl Enqueue for SqliteStore {
    type Tx = SqliteTx;

    /// Writes `drafts` into a transaction of [`begin`](SqliteStore::begin).
    ///
    /// A future that is dropped after it was first polled does not take the drafts back: only a
    /// rollback does.
    async fn enqueue(&self, tx: &mut SqliteTx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        let (inner, drafts) = (std::sync::Arc::clone(&self.inner), drafts.to_vec());
        let enqueued = tx.run(move |conn| inner.enqueue(conn, &drafts));
        Ok(enqueued.await?)
    }
}
