//! The transactional handler: a closure on the thread of the store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result, Router,
    handler::HandlerError,
    inbox::{Attempt, Attempted, Rehearsed, RouteMut},
    message::Message,
    store::Settlement,
};
use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::group::{Ready, serve};
use crate::{SqliteStore, open::limited, owner::guarded};

/// Business code that runs on a message inside of a transaction of the file, on the thread of the
/// store for applications.
///
/// Closures `Fn(&Transaction<'_>, &Message) -> Result<(), HandlerError>` are handlers.
pub trait SqliteHandler: Send + Sync + 'static {
    /// Handles `message` in `tx`, which is committed together with the mark that it is handled. It may
    /// block, but must not wait for another call of the store; while it runs nobody else writes to
    /// the file. It is rolled back after the store's
    /// [limit](crate::ConfigBuilder::transaction_limit).
    ///
    /// Messages that are ready at the same time may share a transaction, each behind a savepoint. A
    /// handler that fails is rolled back to its own; when the transaction as a whole cannot be committed
    /// each of its messages is handled again, in a transaction of its own. Never end the transaction
    /// here.
    ///
    /// # Errors
    /// What to do next; the transaction is rolled back.
    fn handle(&self, tx: &Transaction<'_>, message: &Message) -> Result<(), HandlerError>;
}

impl<F> SqliteHandler for F
where
    F: Fn(&Transaction<'_>, &Message) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn handle(&self, tx: &Transaction<'_>, message: &Message) -> Result<(), HandlerError> {
        self(tx, message)
    }
}

/// A router that takes transactional handlers of SQLite.
pub trait OnTxSync {
    /// Runs `handler` in a transaction of the file: its effects, the mark that the message is handled,
    /// and what it enqueues with [`enqueue_sync`](SqliteStore::enqueue_sync) commit together or not at
    /// all.
    ///
    /// A handler that exceeds its timeout runs to its end all the same, and what it did then is
    /// committed or not with its mark.
    fn on_tx_sync(
        &mut self,
        pattern: impl Into<String>,
        name: impl Into<String>,
        handler: impl SqliteHandler,
    ) -> RouteMut<'_, SqliteStore>;
}

impl OnTxSync for Router<SqliteStore> {
    fn on_tx_sync(
        &mut self,
        pattern: impl Into<String>,
        name: impl Into<String>,
        handler: impl SqliteHandler,
    ) -> RouteMut<'_, SqliteStore> {
        self.on_attempt(pattern, name, OnThread(Arc::new(handler)))
    }
}

/// Why a handler was not run.
fn reason_of(error: HandlerError) -> String {
    match error {
        HandlerError::Retry(source)
        | HandlerError::RetryAfter(_, source)
        | HandlerError::Reject(source) => source.to_string(),
    }
}

struct OnThread(Arc<dyn SqliteHandler>);

#[async_trait]
impl Attempt<SqliteStore> for OnThread {
    async fn attempt(
        &self,
        store: &SqliteStore,
        queue: &SqliteStore,
        message: &Message,
        success: &Settlement,
    ) -> Result<Attempted, HandlerError> {
        let (reply, answer) = oneshot::channel();
        let [posted, entered] = [false, false].map(|no| Arc::new(AtomicBool::new(no)));
        let inner = Arc::clone(&store.inner);
        inner.group.push(Ready {
            handler: Arc::clone(&self.0),
            queue: Arc::clone(&queue.inner),
            message: message.clone(),
            success: success.clone(),
            posted: Arc::clone(&posted),
            entered: Arc::clone(&entered),
            reply,
        });
        let serving = store
            .inner
            .application
            .post(move |conn| serve(conn, &inner));
        let outcome = match serving.await {
            Ok(()) => {
                posted.store(true, Ordering::Release);
                let gone = |_| Err(Error::internal("a thread of the store gave no answer").into());
                answer.await.unwrap_or_else(gone)
            }
            Err(error) => Err(error.into()),
        };
        match outcome {
            // Somebody else kept the file for too long.
            Err(error) if !entered.load(Ordering::Relaxed) => Ok(Attempted::NotRun {
                reason: reason_of(error),
            }),
            outcome => outcome,
        }
    }

    async fn rehearse(&self, store: &SqliteStore, message: &Message) -> Result<Rehearsed> {
        let (inner, handler) = (Arc::clone(&store.inner), Arc::clone(&self.0));
        let message = message.clone();
        let work = move |conn: &mut rusqlite::Connection| {
            // Dropped without a commit: rolled back.
            limited(conn, &inner, |open| {
                let returned = guarded(|| handler.handle(&open.tx, &message));
                Ok(returned.map_or(Rehearsed::Panicked, Rehearsed::from))
            })
        };
        store.inner.application.call(work).await
    }
}
