//! Marking: that a message was handled, in the transaction of its effects, the fence last.

use std::sync::Arc;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{HandlerName, SourceName},
    message::{MessageId, Origin},
    store::{Admitted, Change, Settled, Settlement, Transact, Verdict},
};
use sqlx::PgConnection;

use crate::{error::from_sqlx, row::get, session::Session, store::PostgresStore};

/// Transactions of handlers are READ COMMITTED. A caller of [`mark`](Transact::mark) may bring one of
/// another level.
#[async_trait]
impl Transact for PostgresStore {
    type Open = Session;

    /// Opens a transaction on a connection for handlers. When this future is dropped the
    /// transaction is rolled back.
    async fn begin_handling(&self) -> Result<Self::Open> {
        let sessions = Arc::clone(&self.sessions);
        let opening = sessions.begin("opening the transaction of a handler", None);
        tokio::spawn(opening).await.map_err(|source| {
            Error::internal("opening a transaction panicked").with_source(source)
        })?
    }

    /// One statement: it locks the row of the partition FOR SHARE, by which whoever takes the partition
    /// waits for the COMMIT, and changes the row of the message. Above READ COMMITTED a partition that
    /// was taken after the snapshot of the transaction is a
    /// [`Conflict`](iobox_core::ErrorKind::Conflict).
    ///
    /// From here on the server ends a session that stands idle in the transaction for a lease, the
    /// shortest that was renewed through this store: a process that is paused between the mark and the
    /// COMMIT holds the next owner up for no longer.
    async fn mark(
        &self,
        tx: &mut PgConnection,
        queue: &Self,
        success: &Settlement,
    ) -> Result<Settled> {
        let Change::Verdict(Verdict::Done { duplicate }) = success.change else {
            return Err(Error::invalid("a mark records a success"));
        };
        let idle = self.shortest_lease.get().as_millis();
        let mark = queue.sql.mark.mark.query();
        let row = mark
            .bind(queue.shelf.queue.clone())
            .bind(queue.shelf.number(success.partition))
            .bind(success.epoch.0)
            .bind(success.seq.0)
            .bind(success.revision.0)
            .bind(i32::try_from(success.attempt).unwrap_or(i32::MAX))
            .bind(duplicate)
            .bind(idle.to_string())
            .fetch_one(tx)
            .await
            .map_err(|source| from_sqlx("marking a message as handled", source))?;
        Ok(match (get(&row, 0)?, get(&row, 1)?) {
            (false, _) => Settled::LeaseLost,
            (true, true) => Settled::Applied,
            (true, false) => Settled::Superseded,
        })
    }

    /// Commits. When this future is dropped the commit goes on to its end all the same.
    async fn commit_handling(&self, open: Self::Open) -> Result<()> {
        let committing = open.commit("committing the transaction of a handler");
        tokio::spawn(committing)
            .await
            .map_err(|source| Error::internal("committing panicked").with_source(source))?
    }

    async fn admit(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        handler: &HandlerName,
        origin: Origin,
        id: &MessageId,
    ) -> Result<Admitted> {
        let admit = self.sql.inbox.admit.query();
        let new = admit
            .bind(source.as_str().to_owned())
            .bind(handler.as_str().to_owned())
            .bind(origin.to_string())
            .bind(id.as_str().to_owned())
            .execute(tx)
            .await
            .map_err(|source| from_sqlx("admitting a message", source))?;
        Ok(match new.rows_affected() {
            0 => Admitted::Duplicate,
            _ => Admitted::Fresh,
        })
    }
}
