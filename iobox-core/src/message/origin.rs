//! The origin: which outbox a message comes from.

use std::fmt;

use uuid::Uuid;

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
