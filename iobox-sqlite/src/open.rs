//! The open transaction: the other end of a [`SqliteTx`], on the thread for applications.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use iobox_core::{Error, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{
    SqliteTx, connection::in_transaction, error::sql_error, gate::Urgency, owner::guarded,
    store::Inner,
};

/// The most closures of one transaction that wait for its thread; more than one wait only when
/// futures were dropped.
pub(crate) const COMMANDS_MAX: usize = 16;
/// How many steps of SQLite's machine pass between two looks at the limit.
const STEPS_PER_LOOK: i32 = 1_000;

pub(crate) type Reply = oneshot::Sender<Result<()>>;
/// Breaks when it panicked.
pub(crate) type Work = Box<dyn FnOnce(&Connection) -> ControlFlow<()> + Send>;

pub(crate) enum Command {
    Run(Work),
    Commit(Reply),
    Rollback(Reply),
}

/// Why a transaction ended before its owner asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Expired(Duration),
    Panicked,
    EndedBySql,
}

impl End {
    pub(crate) fn error(self) -> Error {
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

/// Fails where the transaction is over: what is written then would be committed by itself.
pub(crate) fn still_open(conn: &Connection) -> Result<()> {
    if in_transaction(conn) {
        Ok(())
    } else {
        Err(End::EndedBySql.error())
    }
}

/// A transaction under way on the thread for applications.
pub(crate) struct Open<'a> {
    pub(crate) tx: Transaction<'a>,
    inner: &'a Inner,
    /// Set when the transaction may be committed.
    ends: Arc<AtomicBool>,
    deadline: Instant,
    enqueues_before: u64,
}

impl Open<'_> {
    pub(crate) fn commit(self) -> Result<()> {
        still_open(&self.tx)?;
        self.ends.store(true, Ordering::Relaxed);
        self.tx.commit().map_err(sql_error)?;
        // Enqueues of others in the meantime wake too early, which costs a look at most.
        if self.inner.enqueues.load(Ordering::Relaxed) != self.enqueues_before {
            self.inner.signal.wake();
        }
        Ok(())
    }

    fn rollback(self) -> Result<()> {
        self.tx.rollback().map_err(sql_error)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(now())
    }
}

/// Runs `work` with an open transaction, whose statements are interrupted at the limit, and which nobody
/// commits but [`Open::commit`].
pub(crate) fn limited<T, E: From<Error>>(
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
    // Nothing is committed but by us. Where SQLite rolled the transaction back, and `work` passed over
    // the error, each of its further statements would be a transaction of its own.
    let ends = Arc::new(AtomicBool::new(false));
    let may_end = Arc::clone(&ends);
    conn.commit_hook(Some(move || !may_end.load(Ordering::Relaxed)))
        .map_err(sql_error)?;
    let result = guarded(|| {
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql_error)?;
        let at = *deadline.get_or_init(|| now() + inner.config.transaction_limit);
        work(Open {
            tx,
            inner,
            ends,
            deadline: at,
            enqueues_before: inner.enqueues.load(Ordering::Relaxed),
        })
    });
    let lifted = conn
        .commit_hook(None::<fn() -> bool>)
        .and_then(|()| conn.progress_handler(0, None::<fn() -> bool>));
    if let Err(error) = lifted {
        // What became of the transaction is known all the same.
        tracing::error!(%error, "the limit of a transaction cannot be lifted");
    }
    result.unwrap_or_else(|panic| Err(E::from(panic)))
}

/// Opens a transaction, hands its other end to `opened`, and serves it until it ends.
pub(crate) fn serve(
    conn: &mut Connection,
    inner: &Inner,
    opened: oneshot::Sender<Result<SqliteTx>>,
) {
    if opened.is_closed() {
        return;
    }
    let mut opened = Some(opened);
    let served = limited(conn, inner, |open| {
        let (commands, queue) = mpsc::sync_channel(COMMANDS_MAX);
        let ended = Arc::new(OnceLock::new());
        let tx = SqliteTx::new(commands, Arc::clone(&ended));
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

#[allow(
    clippy::disallowed_methods,
    reason = "the limit of a transaction is kept on its own thread, where no clock is injected"
)]
fn now() -> Instant {
    Instant::now()
}
