//! Marking: that a message was handled, in the transaction of its effects, the fence last.

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::{HandlerName, SourceName},
    message::{MessageId, Origin},
    store::{Admitted, Change, Settled, Settlement, Transact, Verdict},
};
use sqlx::PgConnection;

use crate::{error::from_sqlx, row::get, session::Session, sql::MarkSql, store::PostgresStore};

/// Whether the success that a mark records was known to the broker.
fn success_of(success: &Settlement) -> Result<bool> {
    match success.change {
        Change::Verdict(Verdict::Done { duplicate }) => Ok(duplicate),
        _ => Err(Error::invalid("a mark records a success")),
    }
}

/// Transactions of handlers are READ COMMITTED. A caller of [`mark`](Transact::mark) may bring one of
/// another level.
#[async_trait]
impl Transact for PostgresStore {
    type Open = Session;

    /// Opens a transaction on a connection for handlers, or takes one that was opened behind the COMMIT
    /// of another handler while this call waited for a connection: its `now()` is the time at which that
    /// COMMIT was sent. When this future is dropped the transaction is rolled back.
    ///
    /// A `begin` inside of it is a savepoint. One that fails, or that is dropped before it is answered, ends
    /// the transaction: the server refuses what follows, and the commit is
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable).
    async fn begin_handling(&self) -> Result<Self::Open> {
        let doing = "opening the transaction of a handler";
        self.sessions.begin_plain(doing).await
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
        let duplicate = success_of(success)?;
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

    /// One message to the server: the mark fails unless it applies, so that the COMMIT behind it is not
    /// reached. Nobody is held up by a process that is paused between the two. When this future is
    /// dropped both go on to their end all the same.
    async fn mark_and_commit(
        &self,
        open: Self::Open,
        queue: &Self,
        success: &Settlement,
    ) -> Result<Settled> {
        let mark = MarkSql::execute(&queue.shelf, success, success_of(success)?);
        let committing = open.mark_and_commit(mark, "committing the transaction of a handler");
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
