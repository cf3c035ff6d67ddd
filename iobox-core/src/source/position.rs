//! The position: how far a stream was read, in words that its source alone understands.

use std::{fmt, sync::Arc};

use crate::{Error, Result};

/// How far a source was read: everything up to here is stored.
///
/// A text of the source's own, 1 to 8,192 bytes. It says which stream it belongs to where a stream
/// can be deleted and made anew, so that an old position is never taken for one in the new stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Position(Arc<str>);

impl Position {
    /// The longest text, in bytes.
    pub const BYTES_MAX: usize = 8_192;

    /// Checks `text` and makes a position of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it is empty, too long, or has a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(Error::invalid(format!(
                "position has {} bytes; it needs 1 to {}",
                text.len(),
                Self::BYTES_MAX
            )));
        }
        if let Some(at) = text.find(char::is_control) {
            return Err(Error::invalid(format!(
                "position has a control character at byte {at}"
            )));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({:?})", &*self.0)
    }
}
