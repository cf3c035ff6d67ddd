//! The publisher: the relay's side of JetStream.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use iobox_core::{
    Result,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher},
};
use tokio::sync::Semaphore;

use crate::{batch, config::Config, link::Link};

/// Publishes to one stream of NATS JetStream.
///
/// It connects at its first probe or publish, and again at most once a second after a connection was
/// lost; until then messages are [`Unavailable`](PublishError::Unavailable) and not sent. Each
/// connection looks at the stream before it is used.
///
/// A message that the server knew already, by its wire id within the stream's duplicate window, is a
/// [duplicate](iobox_core::publisher::Receipt::duplicate). One whose acknowledgement does not come in
/// time, or whose connection is lost after it was sent, is [`Unknown`](PublishError::Unknown). One
/// that the server or the stream is too small for is [`Permanent`](PublishError::Permanent); one whose
/// subject the stream does not take is [`Transient`](PublishError::Transient), and is not sent, since
/// another stream could take it.
///
/// Dropping a publish is safe: what was handed to the connection may arrive, which is what unknown
/// means; nothing else is sent later, and no place is lost. Needs a tokio runtime with time and
/// I/O. Dropping the publisher closes its connection.
pub struct JetStreamPublisher {
    config: Arc<Config>,
    link: Link,
    room: Semaphore,
}

impl JetStreamPublisher {
    /// A publisher that connects when it is used.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            link: Link::new(Arc::clone(&config)),
            room: Semaphore::new(config.max_in_flight),
            config,
        }
    }
}

#[async_trait]
impl Publisher for JetStreamPublisher {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        match self.link.live().await {
            Ok(live) => {
                let (session, stream) = (&live.session, &live.stream);
                batch::publish(session, stream, &self.config, &self.room, batch, outcomes).await;
            }
            Err(refusal) => {
                for index in 0..batch.len() {
                    let reason = refusal.text.clone();
                    outcomes.report(index, Err(PublishError::Unavailable(reason)));
                }
            }
        }
    }

    /// Looks at the server and the stream, over a new connection if there is none.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the server cannot be reached or does
    /// not answer; [`Invalid`](iobox_core::ErrorKind::Invalid) with what to change when the
    /// credentials are refused, JetStream is off, or the stream is missing, does not take the
    /// subjects (at the start alone), forgets ids too early, keeps messages less well than was asked
    /// for, or is sealed.
    async fn probe(&self) -> Result<Durability> {
        Ok(self.link.probe().await?)
    }
}

impl fmt::Debug for JetStreamPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamPublisher")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
