//! The id of a message, stable for its life, and where generated ones come from.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use super::text;
use crate::Result;

/// The id of a message within its [`Origin`](super::Origin): 1 to 255 bytes of UTF-8 without
/// control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the text is empty, too long, or holds a control
    /// character.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        text::check("id", text.as_ref(), text::TEXT_MAX)?;
        Ok(Self(Arc::from(text.as_ref())))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(Arc::from(id.hyphenated().to_string()))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for MessageId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({:?})", &*self.0)
    }
}

/// Where generated ids come from: of messages, of origins, of instances.
///
/// Injected, so that a simulation draws them from its seed.
pub trait IdSource: Send + Sync + fmt::Debug {
    /// Draws an id that no other call of any process returns.
    fn draw(&self) -> Uuid;
}

/// Ids of UUID version 7: the time in milliseconds, then randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place of the crate that draws ids from the operating system"
    )]
    fn draw(&self) -> Uuid {
        Uuid::now_v7()
    }
}
