//! What an application implements to handle messages.

use std::{error, fmt, time::Duration};

use async_trait::async_trait;

use crate::message::Message;

/// Business code that runs on a message.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles `message`.
    ///
    /// May run again for the same message after a crash, a timeout or an error. It is dropped when
    /// it exceeds its timeout or the lease is lost; a panic counts as a failed attempt.
    ///
    /// # Errors
    /// What to do next, see [`HandlerError`].
    async fn handle(&self, message: &Message) -> Result<(), HandlerError>;
}

/// The source of a [`HandlerError`].
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// What to do next with a message that a handler could not handle.
#[derive(Debug)]
pub enum HandlerError {
    /// Run it again after the backoff of the retry policy.
    Retry(BoxError),
    /// Run it again after this long.
    RetryAfter(Duration, BoxError),
    /// Never run it again: it becomes a dead letter.
    Reject(BoxError),
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(source) => write!(f, "retry: {source}"),
            Self::RetryAfter(after, source) => write!(f, "retry after {after:?}: {source}"),
            Self::Reject(source) => write!(f, "reject: {source}"),
        }
    }
}

impl<E: Into<BoxError>> From<E> for HandlerError {
    fn from(source: E) -> Self {
        Self::Retry(source.into())
    }
}
