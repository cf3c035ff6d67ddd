//! The origin: which outbox a message comes from.

use std::fmt;

use uuid::Uuid;

use super::MessageId;
use crate::{Error, Result};

/// The identity of an outbox, drawn by its first migration.
///
/// It stands before every id on the wire, so that two services with an id `order-1` do not
/// swallow each other's messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(Uuid);

impl Origin {
    /// The origin of messages of producers that have none: the nil UUID. Their ids are told apart by
    /// the source that they came from.
    pub const FOREIGN: Self = Self(Uuid::nil());

    /// An origin with this UUID.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Reads a [wire id](super::Message::wire_id) back: the origin, and the id within it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is not an origin, `/`, and an id.
    pub fn read_wire_id(text: &str) -> Result<(Self, MessageId)> {
        let parts = text.split_once('/').and_then(|(origin, id)| {
            let read = Self(Uuid::try_parse(origin).ok()?);
            // The one form that is written: a UUID can be written in others.
            (read.to_string() == origin).then_some((read, id))
        });
        let Some((origin, id)) = parts else {
            return Err(Error::invalid(format!(
                "a wire id of {} bytes does not begin with the UUID of an origin and `/`",
                text.len()
            )));
        };
        Ok((origin, MessageId::new(id)?))
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}
