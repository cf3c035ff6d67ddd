//! The attempt: one execution of a handler, and how its success is recorded.

use std::sync::Arc;

use async_trait::async_trait;

use super::Rehearsed;
use crate::{
    Error,
    handler::{Handler, HandlerError, TxHandler},
    message::Message,
    store::{Settled, Settlement, Transact},
};

/// What became of an attempt that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// The handler is done; its success is still to be settled.
    Handled,
    /// The handler's effects and its success were committed together.
    Committed,
    /// The handler was not run, since no transaction could be opened: not the message's fault, and not
    /// counted as an attempt.
    NotRun {
        /// Why.
        reason: String,
    },
}

/// How a handler of one kind is run, for adapters that bring a kind of their own.
#[async_trait]
pub trait Attempt<S>: Send + Sync + 'static {
    /// Runs the handler on `message`, which is a row of `queue`, one of the queues of `store`.
    ///
    /// `success` is the settlement that records its success. Whoever records it in the transaction of
    /// the effects does so as the last thing before COMMIT, commits only when it is
    /// [`Applied`](Settled::Applied), and returns [`Attempted::Committed`] when the commit is
    /// confirmed. Any other end is an error; the settlement of that tells what became of the row.
    ///
    /// # Errors
    /// What to do next.
    async fn attempt(
        &self,
        store: &S,
        queue: &S,
        message: &Message,
        success: &Settlement,
    ) -> Result<Attempted, HandlerError>;

    /// Runs the handler on `message` in a transaction of `store` that is rolled back whatever happens,
    /// also when this future is dropped, and says how it ended. A panic may be passed on.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a handler that has no transaction to roll back; why
    /// no transaction could be opened.
    async fn rehearse(&self, store: &S, message: &Message) -> crate::Result<Rehearsed>;
}

/// Runs a plain handler.
pub(super) struct Plain<H>(pub(super) H);

#[async_trait]
impl<S: Send + Sync, H: Handler> Attempt<S> for Plain<H> {
    async fn attempt(
        &self,
        _: &S,
        _: &S,
        message: &Message,
        _: &Settlement,
    ) -> Result<Attempted, HandlerError> {
        self.0.handle(message).await?;
        Ok(Attempted::Handled)
    }

    async fn rehearse(&self, _: &S, _: &Message) -> crate::Result<Rehearsed> {
        Err(Error::invalid(
            "a plain handler cannot be rehearsed: it has no transaction that could be rolled back; \
             replay the message instead",
        ))
    }
}

/// Runs a transactional handler.
pub(super) struct InTransaction<H>(pub(super) H);

#[async_trait]
impl<S: Transact, H: TxHandler<S::Tx>> Attempt<S> for InTransaction<H> {
    async fn attempt(
        &self,
        store: &S,
        queue: &S,
        message: &Message,
        success: &Settlement,
    ) -> Result<Attempted, HandlerError> {
        let mut open = match store.begin_handling().await {
            Ok(open) => open,
            Err(error) => {
                let reason = error.to_string();
                return Ok(Attempted::NotRun { reason });
            }
        };
        self.0.handle(&mut open, message).await?;
        // The fence is the last thing before COMMIT.
        match store.mark_and_commit(open, queue, success).await? {
            Settled::Applied => Ok(Attempted::Committed),
            Settled::LeaseLost => Err("the lease was lost; nothing was committed".into()),
            Settled::Superseded => Err("the row has changed; nothing was committed".into()),
        }
    }

    async fn rehearse(&self, store: &S, message: &Message) -> crate::Result<Rehearsed> {
        // Dropped without a commit: rolled back.
        let mut open = store.begin_handling().await?;
        Ok(self.0.handle(&mut open, message).await.into())
    }
}

#[async_trait]
impl<S: Send + Sync, A: Attempt<S> + ?Sized> Attempt<S> for Arc<A> {
    async fn attempt(
        &self,
        store: &S,
        queue: &S,
        message: &Message,
        success: &Settlement,
    ) -> Result<Attempted, HandlerError> {
        (**self).attempt(store, queue, message, success).await
    }

    async fn rehearse(&self, store: &S, message: &Message) -> crate::Result<Rehearsed> {
        (**self).rehearse(store, message).await
    }
}
