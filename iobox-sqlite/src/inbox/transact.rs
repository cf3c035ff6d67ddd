//! Marking: that a message was handled, in the transaction of its effects.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{HandlerName, SourceName},
    message::{MessageId, Origin},
    store::{Admitted, Change, Settled, Settlement, Transact, Verdict},
};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore, SqliteTx,
    error::Failure,
    open::still_open,
    store::{Inner, holds},
};

impl Inner {
    /// Records a success in an open transaction that may write, in which a lease that is held stays
    /// held. Unlike a settle it does not take a repetition for applied: the effects of the first one
    /// are committed already.
    pub(super) fn mark(&self, conn: &Connection, success: &Settlement) -> Result<Settled, Failure> {
        let Change::Verdict(Verdict::Done { duplicate }) = success.change else {
            return Err(Error::invalid("a mark records a success").into());
        };
        let (partition, queue) = (success.partition, &self.sql.shelf.queue);
        if !holds(conn, &self.sql, queue, partition, success.epoch)? {
            return Ok(Settled::LeaseLost);
        }
        let now = self.sql.read_clock(conn)?;
        let changed = conn.prepare_cached(&self.sql.done)?.execute(params![
            success.seq.0,
            partition.number(),
            success.revision.0,
            success.attempt,
            now,
            duplicate
        ])?;
        Ok(if changed == 1 {
            Settled::Applied
        } else {
            Settled::Superseded
        })
    }

    fn admit(
        &self,
        conn: &Connection,
        (source, handler): (&SourceName, &HandlerName),
        (origin, id): (Origin, &MessageId),
    ) -> Result<Admitted, Failure> {
        still_open(conn)?;
        let new = conn.prepare_cached(&self.inbox.admit)?.execute(params![
            source.as_str(),
            handler.as_str(),
            origin.to_string(),
            id.as_str()
        ])?;
        Ok(if new == 0 {
            Admitted::Duplicate
        } else {
            Admitted::Fresh
        })
    }
}

impl SqliteStore {
    /// Marks a message as handled in a transaction of the caller, as [`Transact::admit`] does.
    ///
    /// # Errors
    /// As for [`Transact::admit`].
    pub fn admit_sync(
        &self,
        tx: &rusqlite::Transaction<'_>,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        let admitted = self.inner.admit(tx, (source, handler), (origin, id));
        Ok(admitted?)
    }
}

/// Transactions that are held across awaits. A handler that works in one keeps every other writer of
/// the file waiting, the relay and its renewals too; prefer
/// [`on_tx_sync`](crate::OnTxSync::on_tx_sync), and a plain handler for what takes long.
#[async_trait]
impl Transact for SqliteStore {
    type Open = Box<SqliteTx>;

    async fn begin_handling(&self) -> Result<Box<SqliteTx>> {
        self.begin().await.map(Box::new)
    }

    async fn mark(&self, tx: &mut SqliteTx, queue: &Self, success: &Settlement) -> Result<Settled> {
        let (inner, success) = (Arc::clone(&queue.inner), success.clone());
        Ok(tx.run(move |conn| inner.mark(conn, &success)).await?)
    }

    async fn commit_handling(&self, open: Box<SqliteTx>) -> Result<()> {
        open.commit().await
    }

    async fn admit(
        &self,
        tx: &mut SqliteTx,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        let inner = Arc::clone(&self.inner);
        let (source, handler, id) = (source.clone(), handler.clone(), id.clone());
        let admitted = tx.run(move |conn| inner.admit(conn, (&source, &handler), (origin, &id)));
        Ok(admitted.await?)
    }
}
