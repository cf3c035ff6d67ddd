//! What a broker keeps of a message, in a form that no broker owns.

use std::fmt;

use iobox_core::message::Message;

/// A message as it was read back from a broker.
///
/// Comparing two of them compares every part; headers in their order. `Debug` cuts payloads short.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The origin, as a UUID with hyphens.
    pub origin: String,
    /// The id within the origin.
    pub id: String,
    /// The topic.
    pub topic: String,
    /// The ordering key, if the message has one.
    pub key: Option<String>,
    /// The headers that the application gave, in order, and none of those that a publisher adds.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// How much of a payload `Debug` shows.
const SHOWN_MAX: usize = 24;

impl Stored {
    /// What a broker must keep of `message`.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let headers = message.headers().iter();
        Self {
            origin: message.origin().to_string(),
            id: message.id().to_string(),
            topic: message.topic().to_string(),
            key: message.key().map(|key| key.as_str().to_owned()),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            payload: message.payload().to_vec(),
        }
    }

    /// The value of the header `name`, found without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The same with its headers sorted, for brokers that keep them as a set.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.headers.sort();
        self
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payload[..self.payload.len().min(SHOWN_MAX)];
        f.debug_struct("Stored")
            .field("origin", &self.origin)
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("headers", &self.headers)
            .field("payload_bytes", &self.payload.len())
            .field("payload", &String::from_utf8_lossy(shown))
            .finish()
    }
}
