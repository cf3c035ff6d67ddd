//! The ordering key: messages that share it are published in order.

use std::{fmt, sync::Arc};

use super::text;
use crate::Result;

/// The ordering key of a message: 1 to 255 bytes of UTF-8 without control characters.
///
/// `Debug` hides the text, since keys are often account numbers or names of customers; `Display`
/// shows it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderingKey(Arc<str>);

impl OrderingKey {
    /// Checks `text` and makes a key of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the text is empty, too long, or holds a control
    /// character.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        text::check("ordering key", text.as_ref(), text::TEXT_MAX)?;
        Ok(Self(Arc::from(text.as_ref())))
    }

    /// Takes a key as it was stored, without a check.
    ///
    /// For adapters: a row whose key would not pass [`new`](Self::new) must still keep its order.
    #[must_use]
    pub fn stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The same key, if it passes [`new`](Self::new).
    ///
    /// For adapters: a message is whole when its stored key passes too.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), as of [`new`](Self::new).
    pub fn checked(&self) -> Result<Self> {
        text::check("ordering key", &self.0, text::TEXT_MAX)?;
        Ok(self.clone())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for OrderingKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for OrderingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderingKey({} bytes)", self.0.len())
    }
}
