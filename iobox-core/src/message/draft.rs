//! The draft: a message before it is enqueued.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::{Headers, IdSource, Limits, Message, MessageId, OrderingKey, Origin, Topic};
use crate::{Error, Result};

/// A message that has not been enqueued yet.
///
/// Its parts are checked when it is enqueued, all at once, before anything is written.
#[derive(Clone)]
#[must_use = "a draft does nothing until it is enqueued"]
pub struct Draft {
    id: Option<String>,
    topic: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
    payload: Bytes,
}

/// A draft that passed every check and got its id.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The message.
    pub message: Message,
    /// Whether the id was drawn here; a caller's own id is checked for duplicates, a drawn one
    /// needs no check.
    pub generated: bool,
}

impl Draft {
    /// A draft for `topic` with any bytes as its payload.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            id: None,
            topic: topic.into(),
            key: None,
            headers: Vec::new(),
            payload: payload.into(),
        }
    }

    /// A draft for `topic` with `value` as JSON and the header `content-type: application/json`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `value` cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(topic: impl Into<String>, value: &T) -> Result<Self> {
        let payload = serde_json::to_vec(value).map_err(|source| {
            Error::invalid("payload cannot be written as JSON").with_source(source)
        })?;
        Ok(Self::new(topic, payload).header("content-type", "application/json"))
    }

    /// Sets the id, instead of one drawn at enqueue.
    ///
    /// Needed when the caller may run his transaction again after a COMMIT whose outcome he does
    /// not know: the second enqueue is then reported as a duplicate.
    pub fn id(mut self, id: impl fmt::Display) -> Self {
        self.id = Some(format!("{id}"));
        self
    }

    /// Sets the ordering key: messages with the same key are published in order.
    pub fn key(mut self, key: impl fmt::Display) -> Self {
        self.key = Some(format!("{key}"));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the W3C trace context, which travels with the message as the header `traceparent`.
    pub fn traceparent(self, value: impl Into<String>) -> Self {
        self.header("traceparent", value)
    }

    /// Checks every part and makes the message: the work of a store's `enqueue`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the field, its bound and its size.
    pub fn seal(&self, origin: Origin, limits: Limits, ids: &dyn IdSource) -> Result<Sealed> {
        if self.payload.len() > limits.payload_max() {
            return Err(Error::invalid(format!(
                "payload has {} bytes; at most {} are allowed",
                self.payload.len(),
                limits.payload_max()
            )));
        }
        let topic = Topic::new(&self.topic)?;
        let key = self.key.as_ref().map(OrderingKey::new).transpose()?;
        let headers = Headers::from_pairs(self.headers.clone())?;
        let id = match &self.id {
            Some(id) => MessageId::new(id)?,
            None => MessageId::from(ids.draw()),
        };
        Ok(Sealed {
            message: Message::new(origin, id, topic, key, headers, self.payload.clone()),
            generated: self.id.is_none(),
        })
    }
}

impl AsRef<[Self]> for Draft {
    fn as_ref(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("keyed", &self.key.is_some())
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
