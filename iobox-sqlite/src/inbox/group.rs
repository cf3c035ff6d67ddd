//! The group: handlers whose messages are ready at the same time share a transaction.
//!
//! A commit costs more than what most handlers do. Each message has a savepoint of its own in the
//! transaction, so that a handler that fails takes nothing of the others along. Whatever ends the
//! transaction as a whole has the messages run again, each in a transaction of its own.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iobox_core::{
    handler::HandlerError,
    inbox::Attempted,
    message::Message,
    store::{Settled, Settlement},
};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::SqliteHandler;
use crate::{
    error::Failure,
    open::{Open, limited, still_open},
    owner::guarded,
    store::Inner,
};

/// The most messages of one transaction.
const MESSAGES_MAX: usize = 64;
/// How long a transaction takes further messages. Other writers wait for it to end, and handlers that
/// take longer have transactions of their own.
const OPEN_FOR: Duration = Duration::from_millis(2);

type Outcome = Result<Attempted, HandlerError>;

/// The messages that wait for the thread, in their order.
#[derive(Default)]
pub(crate) struct Group(Mutex<VecDeque<Ready>>);

/// A message whose handler may run.
pub(super) struct Ready {
    pub(super) handler: Arc<dyn SqliteHandler>,
    pub(super) queue: Arc<Inner>,
    pub(super) message: Message,
    pub(super) success: Settlement,
    /// Whether the thread was told to look at the group.
    pub(super) posted: Arc<AtomicBool>,
    /// Whether its handler was called.
    pub(super) entered: Arc<AtomicBool>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Group {
    /// Adds a message. The caller has the thread call [`serve`] afterwards, once for each.
    pub(super) fn push(&self, ready: Ready) {
        self.line().push_back(ready);
    }

    /// The next one, unless its caller gave up before the thread was told of it.
    fn pop(&self) -> Option<Ready> {
        let mut line = self.line();
        loop {
            let first = line.pop_front()?;
            if first.posted.load(Ordering::Acquire) || !first.reply.is_closed() {
                return Some(first);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Ready>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs handlers that are ready: one at least if there is one, and those behind it in the same
/// transaction.
pub(super) fn serve(conn: &mut Connection, inner: &Inner) {
    let Some(first) = inner.group.pop() else {
        return;
    };
    if inner.group.line().is_empty() {
        let outcome = first.alone(conn, inner);
        first.answer(outcome);
        return;
    }
    let mut ready = vec![first];
    let mut outcomes = Vec::new();
    let shared = limited(conn, inner, |open| {
        share(open, inner, &mut ready, &mut outcomes)
    });
    match shared {
        Ok(()) => {
            for (one, outcome) in ready.into_iter().zip(outcomes) {
                one.answer(outcome);
            }
        }
        Err(failure) => {
            tracing::debug!(%failure, "handlers that shared a transaction run again, each alone");
            for one in ready {
                // Where the transaction could not be opened, another one cannot either.
                let outcome = if one.entered.load(Ordering::Relaxed) {
                    one.alone(conn, inner)
                } else {
                    Err(HandlerError::from(failure.to_string()))
                };
                one.answer(outcome);
            }
        }
    }
}

/// Runs handlers in one transaction and commits it.
fn share(
    open: Open<'_>,
    inner: &Inner,
    ready: &mut Vec<Ready>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    let since = now();
    while let Some(one) = ready.get(outcomes.len()) {
        outcomes.push(one.in_savepoint(&open.tx)?);
        if now().duration_since(since) < OPEN_FOR && ready.len() < MESSAGES_MAX {
            ready.extend(inner.group.pop());
        }
    }
    Ok(open.commit()?)
}

impl Ready {
    /// Runs the handler and marks its message, in a transaction that is then to be committed.
    fn handle(&self, tx: &Transaction<'_>) -> Outcome {
        self.entered.store(true, Ordering::Relaxed);
        self.handler.handle(tx, &self.message)?;
        // A mark would be committed without the effects.
        still_open(tx)?;
        match self.queue.mark(tx, &self.success)? {
            Settled::Applied => Ok(Attempted::Committed),
            Settled::LeaseLost => Err("the lease was lost; nothing was committed".into()),
            Settled::Superseded => Err("the row has changed; nothing was committed".into()),
        }
    }

    /// Does it in a transaction of its own.
    fn alone(&self, conn: &mut Connection, inner: &Inner) -> Outcome {
        limited(conn, inner, |open| {
            let attempted = self.handle(&open.tx)?;
            open.commit()?;
            Ok(attempted)
        })
    }

    /// Does it as a part of a transaction; a part that fails leaves nothing behind.
    ///
    /// # Errors
    /// When the transaction cannot go on.
    fn in_savepoint(&self, tx: &Transaction<'_>) -> Result<Outcome, Failure> {
        let run = |statement: &str| tx.prepare_cached(statement)?.execute([]);
        run("SAVEPOINT iobox_part")?;
        let outcome = guarded(|| self.handle(tx)).unwrap_or_else(|panic| Err(panic.into()));
        still_open(tx)?;
        if outcome.is_err() {
            run("ROLLBACK TO iobox_part")?;
        }
        run("RELEASE iobox_part")?;
        Ok(outcome)
    }

    fn answer(self, outcome: Outcome) {
        // Whoever asked may have gone; the work is done all the same.
        drop(self.reply.send(outcome));
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a transaction is open is seen on its own thread, where no clock is injected"
)]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}
