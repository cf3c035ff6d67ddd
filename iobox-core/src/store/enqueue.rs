//! Enqueueing: writing messages inside the caller's transaction.

use async_trait::async_trait;

use crate::{
    Result,
    message::{Draft, MessageId},
    store::Store,
};

/// A store into which an application writes with its own transaction.
#[async_trait]
pub trait Enqueue: Store {
    /// What the caller holds while his transaction is open.
    type Tx: Send + ?Sized;

    /// Writes `drafts` in order into the caller's transaction: they exist if and only if it
    /// commits. The results stand in the order of the drafts.
    ///
    /// All drafts are checked before anything is written. A future that is dropped leaves the
    /// transaction in a state in which only a rollback is sound.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a draft that breaks a bound, and for what
    /// [`open`](super::Store::open) refuses, which a program that only enqueues never calls;
    /// [`Conflict`](crate::ErrorKind::Conflict) when the database asks to run the transaction again.
    async fn enqueue(&self, tx: &mut Self::Tx, drafts: &[Draft]) -> Result<Vec<Enqueued>>;
}

/// What became of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// It will be a message when the transaction commits.
    New(MessageId),
    /// A message with this id exists already, or stands earlier in the same call; nothing was
    /// written, and the transaction is as good as before.
    Duplicate(MessageId),
}

impl Enqueued {
    /// The id of the message.
    #[must_use]
    pub const fn id(&self) -> &MessageId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }

    /// Whether a message with this id existed already.
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        matches!(self, Self::Duplicate(_))
    }
}
