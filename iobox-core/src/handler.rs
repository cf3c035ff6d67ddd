//! What an application implements to handle messages.

use std::{error, fmt, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::message::Message;

/// Business code that runs on a message.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles `message`.
    ///
    /// May run again for the same message after a crash, a timeout or an error. It is dropped when
    /// it exceeds its timeout; a panic counts as a failed attempt. One whose lease is lost runs on, beside
    /// the next attempt elsewhere, and its outcome is not recorded.
    ///
    /// # Errors
    /// What to do next, see [`HandlerError`].
    async fn handle(&self, message: &Message) -> Result<(), HandlerError>;
}

/// Business code that runs on a message inside of a transaction of the store.
#[async_trait]
pub trait TxHandler<Tx: ?Sized>: Send + Sync + 'static {
    /// Handles `message` in `tx`. The mark that it is handled is written after it into the same
    /// transaction, which is then committed by whoever called: never commit or roll back here.
    ///
    /// May run again for the same message; what it did in a transaction that was not committed never
    /// happened.
    ///
    /// # Errors
    /// What to do next, see [`HandlerError`]; the transaction is rolled back.
    async fn handle(&self, tx: &mut Tx, message: &Message) -> Result<(), HandlerError>;
}

/// A handler made of a closure that takes the message.
///
/// ```
/// use iobox_core::{handler, message::Message};
///
/// let handler = handler::from_fn(|message: Message| async move {
///     println!("{}", message.topic());
///     Ok(())
/// });
/// # let _ = handler;
/// ```
pub const fn from_fn<F, R>(closure: F) -> impl Handler
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Closure(closure)
}

/// A handler made of a closure that takes the payload, read from JSON, and the message.
///
/// A payload that cannot be read as `T` is rejected: the message becomes a dead letter and keeps its
/// payload. The reason names the place, never the content.
pub const fn json<T, F, R>(closure: F) -> impl Handler
where
    T: DeserializeOwned + Send + 'static,
    F: Fn(T, Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Json(closure, PhantomData)
}

/// Reads the payload of a message as JSON, for handlers that do so themselves.
///
/// # Errors
/// [`Reject`](HandlerError::Reject) when it cannot be read as `T`.
pub fn read_json<T: DeserializeOwned>(message: &Message) -> Result<T, HandlerError> {
    serde_json::from_slice(message.payload()).map_err(|error| {
        // The text of the error may repeat the content.
        let what = match error.classify() {
            serde_json::error::Category::Data => "is JSON of another shape",
            _ => "is not JSON",
        };
        let (line, column) = (error.line(), error.column());
        HandlerError::Reject(format!("payload {what}, at line {line} column {column}").into())
    })
}

struct Closure<F>(F);

#[async_trait]
impl<F, R> Handler for Closure<F>
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        (self.0)(message.clone()).await
    }
}

struct Json<T, F>(F, PhantomData<fn() -> T>);

#[async_trait]
impl<T, F, R> Handler for Json<T, F>
where
    T: DeserializeOwned + Send + 'static,
    F: Fn(T, Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        (self.0)(read_json(message)?, message.clone()).await
    }
}

#[async_trait]
impl<H: Handler + ?Sized> Handler for Arc<H> {
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        (**self).handle(message).await
    }
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
