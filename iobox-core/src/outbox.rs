//! The outbox: the application's end of the queue.

use std::{fmt, sync::Arc};

use crate::{
    Error, Result,
    message::Draft,
    store::{Enqueue, Enqueued},
};

/// Writes messages inside the caller's transactions. Clones are cheap.
pub struct Outbox<S: Enqueue> {
    store: Arc<S>,
}

impl<S: Enqueue> Outbox<S> {
    /// The most drafts of one call.
    pub const BATCH_MAX: usize = 10_000;

    /// The outbox of `store`, which may be a value or an `Arc`.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
        }
    }

    /// Writes one draft or many, in order, into the caller's transaction: they become messages if
    /// and only if it commits.
    ///
    /// Messages of one ordering key are published in the order of their enqueues if transactions
    /// that write the same key run one after the other: update the row that the key names *before*
    /// the enqueue, so that its lock is held until COMMIT, or use the store's ordered enqueue.
    ///
    /// When this future is dropped, roll the transaction back.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a draft that breaks a bound, or more than
    /// [`BATCH_MAX`](Self::BATCH_MAX) drafts: nothing was written.
    /// [`Conflict`](crate::ErrorKind::Conflict) when the database asks to run the transaction again.
    pub async fn enqueue(
        &self,
        tx: &mut S::Tx,
        drafts: impl AsRef<[Draft]> + Send,
    ) -> Result<Vec<Enqueued>> {
        let drafts = drafts.as_ref();
        if drafts.len() > Self::BATCH_MAX {
            return Err(Error::invalid(format!(
                "enqueue was given {} drafts; at most {} are allowed in one call",
                drafts.len(),
                Self::BATCH_MAX
            )));
        }
        self.store.enqueue(tx, drafts).await
    }

    /// Tells the relays of this process that a transaction with messages was committed, so that
    /// they look at once. Call it after COMMIT; without it they find the messages by polling.
    pub fn wake(&self) {
        self.store.signal().wake();
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: Enqueue> Clone for Outbox<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
        }
    }
}

impl<S: Enqueue> fmt::Debug for Outbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("store", &self.store)
            .finish()
    }
}
