//! The checks that every text field of a message shares.

use crate::{Error, Result};

/// The longest id, topic and ordering key, in bytes of UTF-8.
pub(super) const TEXT_MAX: usize = 255;

/// Refuses text that is empty, longer than `max` bytes, or holds a control character.
///
/// The error names the field, the bound and the size, never the text.
pub(super) fn check(field: &str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!(
            "{field} is empty; it needs 1 to {max} bytes"
        )));
    }
    if text.len() > max {
        return Err(Error::invalid(format!(
            "{field} has {} bytes; at most {max} are allowed",
            text.len()
        )));
    }
    if let Some(at) = text.find(char::is_control) {
        return Err(Error::invalid(format!(
            "{field} has a control character at byte {at}; remove it"
        )));
    }
    Ok(())
}
