//! The whole message: origin, id, topic, ordering key, headers, payload.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::{Draft, Headers, MessageId, OrderingKey, Origin, Topic};
use crate::Result;

/// A message as it is stored, published and handled. Cloning is cheap.
///
/// `Debug` shows id and topic and hides key, header values and payload.
#[derive(Clone)]
pub struct Message(Arc<Parts>);

struct Parts {
    origin: Origin,
    id: MessageId,
    topic: Topic,
    key: Option<OrderingKey>,
    headers: Headers,
    payload: Bytes,
}

impl Message {
    /// A message of these parts.
    #[must_use]
    pub fn new(
        origin: Origin,
        id: MessageId,
        topic: Topic,
        key: Option<OrderingKey>,
        headers: Headers,
        payload: Bytes,
    ) -> Self {
        Self(Arc::new(Parts {
            origin,
            id,
            topic,
            key,
            headers,
            payload,
        }))
    }

    /// Starts a message with any bytes as its payload; see [`Draft::new`].
    pub fn draft(topic: impl Into<String>, payload: impl Into<Bytes>) -> Draft {
        Draft::new(topic, payload)
    }

    /// Starts a message with `value` as its JSON payload; see [`Draft::json`].
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `value` cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(topic: impl Into<String>, value: &T) -> Result<Draft> {
        Draft::json(topic, value)
    }

    /// The outbox that it comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Its id within the origin.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        &self.0.id
    }

    /// Its id on the wire, `<origin>/<id>`, unique across services.
    #[must_use]
    pub fn wire_id(&self) -> String {
        format!("{}/{}", self.0.origin, self.0.id)
    }

    /// Where it goes.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// Its ordering key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&OrderingKey> {
        self.0.key.as_ref()
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// The bytes it takes: id, topic, key, headers and payload.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.id.as_str().len()
            + self.0.topic.as_str().len()
            + self.0.key.as_ref().map_or(0, |key| key.as_str().len())
            + self.0.headers.size()
            + self.0.payload.len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.0.id)
            .field("topic", &self.0.topic)
            .field("keyed", &self.0.key.is_some())
            .field("payload_bytes", &self.0.payload.len())
            .finish_non_exhaustive()
    }
}
