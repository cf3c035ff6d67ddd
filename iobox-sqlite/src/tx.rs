//! Transactions of the application, on the thread that the store keeps for them.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{
        Arc, OnceLock,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError, TrySendError},
    },
    time::{Duration, Instant},
};

use iobox_core::{Error, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{
    SqliteStore,
    connection::in_transaction,
    error::{Failure, sql_error},
    gate::Urgency,
    owner::guarded,
    store::Inner,
};

/// The most closures of one transaction that wait for its thread; more than one wait only when
/// futures were dropped.
const COMMANDS_MAX: usize = 16;
/// How many steps of SQLite's machine pass between two looks at the limit.
const STEPS_PER_LOOK: i32 = 1_000;

type Reply = oneshot::Sender<Result<()>>;
/// Breaks when it panicked.
type Work = Box<dyn FnOnce(&Connection) -> ControlFlow<()> + Send>;

enum Command {
    Run(Work),
    Commit(Reply),
    Rollback(Reply),
}

/// Why a transaction ended before its owner asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Expired(Duration),
    Panicked,
    EndedBySql,
}

impl End {
    fn error(self) -> Error {
        match self {
            Self::Expired(limit) => Error::unavailable(format!(
                "the transaction exceeded its limit of {limit:?} and was rolled back"
            )),
            Self::Panicked => {
                Error::internal("a closure panicked; its transaction was rolled back")
            }
            Self::EndedBySql => Error::unavailable(
                "the transaction is over: SQLite rolled it back, or a closure ended it",
            ),
        }
    }
}

/// A transaction that is open on the store's thread for applications, and may be held across awaits.
///
/// It began with `BEGIN IMMEDIATE`: until it ends nobody else writes to the file. Dropping it rolls
/// it back. It is rolled back as well when it lasts longer than the store's
/// [limit](crate::Config::transaction_limit); every later call says so.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct SqliteTx {
    commands: mpsc::SyncSender<Command>,
    ended: Arc<OnceLock<End>>,
}

impl SqliteTx {
    /// Runs `work` in the transaction and returns what it returned.
    ///
    /// An error that `work` returns does not end the transaction: commit or roll back as you see
    /// fit. A panic rolls it back. The closure may not end the transaction itself.
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
    /// When this returns without an error the transaction is committed. Call
    /// [`wake`](iobox_core::Outbox::wake) then if it enqueued messages, or leave it to polling. A
    /// future that is dropped before it was first polled rolls back; after that the transaction
    /// commits, or not if it fails, and nobody is told.
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
    /// [limit](crate::Config::transaction_limit). A future that is dropped leaves no transaction
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
    /// may block; a statement that runs past the store's
    /// [limit](crate::Config::transaction_limit) is interrupted, and the transaction is rolled back.
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
                    let before = inner.enqueues.load(Ordering::Relaxed);
                    let result = work(&open.tx)?;
                    open.commit()?;
                    if inner.enqueues.load(Ordering::Relaxed) != before {
                        inner.signal.wake();
                    }
                    Ok(result)
                })
            })
            .await
    }
}

/// A transaction under way on the thread for applications.
struct Open<'a> {
    tx: Transaction<'a>,
    inner: &'a Inner,
    deadline: Instant,
}

impl Open<'_> {
    fn commit(self) -> Result<()> {
        if !in_transaction(&self.tx) {
            return Err(End::EndedBySql.error());
        }
        self.tx.commit().map_err(sql_error)
    }

    fn rollback(self) -> Result<()> {
        self.tx.rollback().map_err(sql_error)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(now())
    }
}

/// Runs `work` with an open transaction, whose statements are interrupted at the limit.
fn limited<T, E: From<Error>>(
    conn: &mut Connection,
    inner: &Inner,
    work: impl FnOnce(Open<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let _turn = inner.gate.enter(Urgency::Normal)?;
    // Set once the transaction is open: waiting for other processes does not count.
    let deadline = Arc::new(OnceLock::<Instant>::new());
    let watched = Arc::clone(&deadline);
    let passed = move || watched.get().is_some_and(|deadline| now() >= *deadline);
    conn.progress_handler(STEPS_PER_LOOK, Some(passed))
        .map_err(sql_error)?;
    let result = guarded(|| {
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql_error)?;
        let at = *deadline.get_or_init(|| now() + inner.config.transaction_limit);
        work(Open {
            tx,
            inner,
            deadline: at,
        })
    });
    conn.progress_handler(0, None::<fn() -> bool>)
        .map_err(sql_error)?;
    result.unwrap_or_else(|panic| Err(E::from(panic)))
}

/// Opens a transaction, hands its other end to `opened`, and serves it until it ends.
fn serve(conn: &mut Connection, inner: &Inner, opened: oneshot::Sender<Result<SqliteTx>>) {
    if opened.is_closed() {
        return;
    }
    let mut opened = Some(opened);
    let served = limited(conn, inner, |open| {
        let (commands, queue) = mpsc::sync_channel(COMMANDS_MAX);
        let ended = Arc::new(OnceLock::new());
        let tx = SqliteTx {
            commands,
            ended: Arc::clone(&ended),
        };
        // If nobody waits any more the other end is dropped here, and the transaction rolled back.
        let _ = opened.take().map(|opened| opened.send(Ok(tx)));
        converse(open, &queue, &ended);
        Ok(())
    });
    if let (Err(error), Some(opened)) = (served, opened) {
        let _ = opened.send(Err(error));
    }
}

/// Obeys commands until the transaction ends.
fn converse(open: Open<'_>, queue: &mpsc::Receiver<Command>, ended: &OnceLock<End>) {
    let limit = open.inner.config.transaction_limit;
    loop {
        let left = open.left();
        if left.is_zero() {
            ended.get_or_init(|| End::Expired(limit));
            return;
        }
        match queue.recv_timeout(left) {
            Ok(Command::Run(work)) => {
                if work(&open.tx).is_break() {
                    return;
                }
                if !in_transaction(&open.tx) {
                    // What it did is gone, or was committed behind our back: nothing may follow.
                    ended.get_or_init(|| End::EndedBySql);
                    return;
                }
            }
            Ok(Command::Commit(reply)) => {
                let _ = reply.send(open.commit());
                return;
            }
            Ok(Command::Rollback(reply)) => {
                let _ = reply.send(open.rollback());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Runs `work` inside of a savepoint: an error takes back what it wrote.
pub(crate) fn savepoint<T>(
    conn: &Connection,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
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

#[allow(
    clippy::disallowed_methods,
    reason = "the limit of a transaction is kept on its own thread, where no clock is injected"
)]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx")
            .field("ended", &self.ended.get())
            .finish_non_exhaustive()
    }
}
