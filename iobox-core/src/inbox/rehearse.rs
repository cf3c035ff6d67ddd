//! The rehearsal: a transactional handler is run on a stored message, and rolled back.

use std::{sync::Arc, time::Duration};

use super::{HandlerName, Inbox};
use crate::{
    Error, Result,
    driver::{Run, contained},
    handler::HandlerError,
    message::{Message, MessageId},
    queue::Queue,
    store::{Body, Receive},
};

/// How a handler that was rehearsed ended. Nothing of it remains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rehearsed {
    /// It handled the message: its effects could have been committed.
    Handled,
    /// It wants to run again after the backoff.
    Retry {
        /// Why.
        reason: String,
    },
    /// It wants to run again after this long.
    RetryAfter {
        /// How long.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// It rejects the message, which would be a dead letter.
    Reject {
        /// Why.
        reason: String,
    },
    /// It panicked.
    Panicked,
    /// It did not end within the timeout of its policy.
    TimedOut {
        /// The timeout.
        limit: Duration,
    },
}

impl From<Result<(), HandlerError>> for Rehearsed {
    fn from(returned: Result<(), HandlerError>) -> Self {
        match returned {
            Ok(()) => Self::Handled,
            Err(HandlerError::Retry(source)) => Self::Retry {
                reason: source.to_string(),
            },
            Err(HandlerError::RetryAfter(after, source)) => Self::RetryAfter {
                after,
                reason: source.to_string(),
            },
            Err(HandlerError::Reject(source)) => Self::Reject {
                reason: source.to_string(),
            },
        }
    }
}

impl<S: Receive> Inbox<S> {
    /// Runs a transactional handler of this program on a message that is stored for it, whatever its
    /// state, rolls back, and says how the handler ended: for a person who wants to know what a replay
    /// would do. The message is the one that [`Admin::get`](crate::store::Admin::get) finds.
    ///
    /// Nothing of the store is changed: no attempt is counted, no state moves, no effect and no
    /// enqueued message remains, only numbers of sequences are used up. What the handler does outside
    /// of its transaction happens, however, and so does what it commits itself against its contract.
    /// What only a COMMIT finds out, a deferred constraint for example, is not found out. Until the end
    /// the transaction holds the locks that the handler takes, also against a worker that handles the
    /// same message.
    ///
    /// When this future is dropped the handler is cancelled and the transaction rolled back.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a handler that this program does not have or that
    /// is not transactional, and for a message that is not stored for it;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) when the row cannot be decoded. Whatever keeps the
    /// transaction from being opened comes back as it is.
    pub async fn rehearse(&self, handler: &HandlerName, id: &MessageId) -> Result<Rehearsed> {
        let route = self.parts.handlers.get(handler).ok_or_else(|| {
            Error::invalid(format!("this program has no handler {handler} to rehearse"))
        })?;
        let message = self.stored(handler, id).await?;
        let (attempt, store) = (Arc::clone(&route.attempt), self.parts.store.clone());
        let limit = route.policy.timeout;
        let work = async move { attempt.rehearse(&store, &message).await };
        match contained(limit, work).await {
            Run::Ended(rehearsed) => rehearsed,
            Run::Panicked => Ok(Rehearsed::Panicked),
            Run::TooSlow => Ok(Rehearsed::TimedOut { limit }),
        }
    }

    /// A message of the handler's queue.
    async fn stored(&self, handler: &HandlerName, id: &MessageId) -> Result<Message> {
        let queue = self.parts.store.queue_of(handler).await?;
        let entry = queue.get(&Queue::Inbox(handler.clone()), id).await?;
        match entry.and_then(|entry| entry.body) {
            Some(Body::Message(message)) => Ok(message),
            Some(Body::Corrupt(reason)) => Err(Error::corrupt(format!(
                "the message cannot be decoded: {reason}"
            ))),
            None => Err(Error::invalid(format!(
                "no message with this id is stored for handler {handler}"
            ))),
        }
    }
}
