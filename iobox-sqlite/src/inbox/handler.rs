//! The transactional handler: a closure on the thread of the store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use iobox_core::{
    Result, Router,
    handler::HandlerError,
    inbox::{Attempt, Attempted, Rehearsed, RouteMut},
    message::Message,
    store::{Settled, Settlement},
};
use rusqlite::Transaction;

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
        let (inner, queue) = (Arc::clone(&store.inner), Arc::clone(&queue.inner));
        let (handler, message) = (Arc::clone(&self.0), message.clone());
        let success = success.clone();
        let running = Arc::new(AtomicBool::new(false));
        let entered = Arc::clone(&running);
        let work = move |conn: &mut rusqlite::Connection| {
            limited(conn, &inner, |open| {
                entered.store(true, Ordering::Relaxed);
                handler.handle(&open.tx, &message)?;
                match queue.mark(&open.tx, &success)? {
                    Settled::Applied => {
                        open.commit()?;
                        Ok(Attempted::Committed)
                    }
                    Settled::LeaseLost => Err(HandlerError::from(
                        "the lease was lost; nothing was committed",
                    )),
                    Settled::Superseded => Err(HandlerError::from(
                        "the row has changed; nothing was committed",
                    )),
                }
            })
        };
        match store.inner.application.call(work).await {
            // Somebody else kept the file for too long.
            Err(error) if !running.load(Ordering::Relaxed) => Ok(Attempted::NotRun {
                reason: error.to_string(),
            }),
            attempted => attempted,
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
