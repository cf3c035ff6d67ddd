//! What a broker implements: taking messages, and saying how long it keeps them.

mod durability;
mod outcomes;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use durability::Durability;
pub use outcomes::{Outcomes, PublishError, Receipt};

use crate::{Result, message::Message};

/// The broker side of the relay.
#[async_trait]
pub trait Publisher: Send + Sync + fmt::Debug + 'static {
    /// Publishes `batch` and reports the outcome of each message, by its index, as it arrives.
    ///
    /// A batch never holds two messages of one ordering key, so messages may be sent in any order.
    /// What was not reported when this returns, is dropped, or panics counts as
    /// [`Unknown`](PublishError::Unknown). Before sending, the connection is checked: not connected
    /// is [`Unavailable`](PublishError::Unavailable), which means definitely not sent.
    ///
    /// `Ok` is said of what the broker keeps for whoever reads it. A broker that confirms what it then drops,
    /// since no queue takes the topic, has not taken it: that is
    /// [`Permanent`](PublishError::Permanent), or [`Transient`](PublishError::Transient) if a queue may come.
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes);

    /// Asks the broker whether it can take messages, and how well it keeps them: at start and
    /// while it is not answering. Ends by itself when the broker is silent.
    ///
    /// The relay writes what this returns to the log and judges nothing: a broker that would lose what it
    /// confirms is an error of kind [`Invalid`](crate::ErrorKind::Invalid), unless the user asked for it.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot be reached;
    /// [`Invalid`](crate::ErrorKind::Invalid) when a person must change something first.
    async fn probe(&self) -> Result<Durability>;
}

#[async_trait]
impl<P: Publisher + ?Sized> Publisher for Arc<P> {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        (**self).publish(batch, outcomes).await;
    }

    async fn probe(&self) -> Result<Durability> {
        (**self).probe().await
    }
}
