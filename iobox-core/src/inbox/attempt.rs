//! The attempt: one execution of a handler, and how its success is recorded.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
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
        match store.mark(&mut open, queue, success).await? {
            Settled::Applied => {
                store.commit_handling(open).await?;
                Ok(Attempted::Committed)
            }
            Settled::LeaseLost => Err("the lease was lost; nothing was committed".into()),
            Settled::Superseded => Err("the row has changed; nothing was committed".into()),
        }
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
}
