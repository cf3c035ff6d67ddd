//! The transaction: what the application holds while one is open.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{
        Arc, OnceLock,
        mpsc::{self, TrySendError},
    },
};

use iobox_core::{Error, Result};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::{
    SqliteStore,
    open::{COMMANDS_MAX, Command, End, limited, serve},
    owner::guarded,
};

/// A transaction that is open on the store's thread for applications, and may be held across awaits.
///
/// It began with `BEGIN IMMEDIATE`: until it ends nobody else writes to the file. Dropping it rolls
/// it back. It is rolled back as well when it lasts longer than the store's
/// [limit](crate::ConfigBuilder::transaction_limit); every later call says so.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct SqliteTx {
    commands: mpsc::SyncSender<Command>,
    ended: Arc<OnceLock<End>>,
}

impl SqliteTx {
    pub(crate) fn new(commands: mpsc::SyncSender<Command>, ended: Arc<OnceLock<End>>) -> Self {
        Self { commands, ended }
    }

    /// Runs `work` in the transaction and returns what it returned.
    ///
    /// An error that `work` returns does not end the transaction: commit or roll back as you see
    /// fit. A panic rolls it back. The closure may not end the transaction itself, nor wait for
    /// another call of the store.
    ///
    /// A future that is dropped before it was first polled runs nothing. After that the closure
    /// runs to its end all the same; roll the transaction back then, unless you can tell what it
    /// did.
    ///
    /// # Errors
    /// What `work` returned; [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the
    /// transaction is over; [`Internal`](iobox_core::ErrorKind::Internal) when `work` panicked.
    pub async fn run<T, E>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let ended = Arc::clone(&self.ended);
        self.send(Command::Run(Box::new(move |conn| {
            match guarded(|| work(conn)) {
                Ok(result) => {
                    let _ = reply.send(result);
                    ControlFlow::Continue(())
                }
                Err(panic) => {
                    ended.get_or_init(|| End::Panicked);
                    let _ = reply.send(Err(E::from(panic)));
                    ControlFlow::Break(())
                }
            }
        })))?;
        answer.await.unwrap_or_else(|_| Err(E::from(self.over())))
    }

    /// Commits.
    ///
    /// When this returns without an error the transaction is committed, and the relays of this
    /// process know that there are messages, if it enqueued some. A future that is dropped before
    /// it was first polled rolls back; after that the transaction commits, or not if it fails, and
    /// nobody is told.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the transaction was over before, or
    /// when the disk failed during the commit; in the second case it may be committed or not.
    pub async fn commit(self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Commit(reply))?;
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// Rolls back, and returns when the next transaction may begin.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the transaction was over before: it
    /// is rolled back then, too.
    pub async fn rollback(self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Rollback(reply))?;
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => Error::unavailable(format!(
                    "{COMMANDS_MAX} closures of this transaction are waiting already"
                )),
                TrySendError::Disconnected(_) => self.over(),
            })
    }

    /// Why the thread does not answer any more.
    fn over(&self) -> Error {
        self.ended.get().copied().unwrap_or(End::EndedBySql).error()
    }
}

impl SqliteStore {
    /// Opens a transaction that may write.
    ///
    /// Transactions of one store queue up behind each other; each may last as long as the store's
    /// [limit](crate::ConfigBuilder::transaction_limit). A future that is dropped leaves no transaction
    /// open.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when another writer keeps the file for
    /// longer than the busy timeout.
    pub async fn begin(&self) -> Result<SqliteTx> {
        let (opened, answer) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        self.inner
            .application
            .post(move |conn| serve(conn, &inner, opened))
            .await?;
        answer
            .await
            .unwrap_or_else(|_| Err(Error::internal("the thread of the transactions is gone")))
    }

    /// Runs `work` in one transaction that may write, and commits it if `work` returns `Ok`.
    ///
    /// When this returns `Ok` the transaction is committed, and the relays of this process know
    /// that there are messages, if it enqueued some. The closure runs on a thread of the store and
    /// may block, but must not wait for another call of the store; a statement that runs past the store's
    /// [limit](crate::ConfigBuilder::transaction_limit) is interrupted, and the transaction is rolled back.
    ///
    /// A future that is dropped before there was room in the thread's queue runs nothing. After
    /// that the closure runs and commits all the same, and nobody is told.
    ///
    /// # Errors
    /// What `work` returned: then nothing was written. [`Unavailable`] when the database is locked,
    /// the limit was exceeded (nothing was written), or the disk failed during the commit (it may
    /// be committed or not). [`Internal`](iobox_core::ErrorKind::Internal) when `work` panicked:
    /// nothing was written.
    ///
    /// [`Unavailable`]: iobox_core::ErrorKind::Unavailable
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        self.inner
            .application
            .call(move |conn| {
                limited(conn, &inner, |open| {
                    let result = work(&open.tx)?;
                    open.commit()?;
                    Ok(result)
                })
            })
            .await
    }
}

impl fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx")
            .field("ended", &self.ended.get())
            .finish_non_exhaustive()
    }
}
