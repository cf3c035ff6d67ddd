//! The topic: where a message goes, valid for every broker that iobox knows.

use std::{fmt, sync::Arc};

use super::text;
use crate::{Error, Result};

/// The most tokens (parts between dots) of a topic.
const TOKENS_MAX: usize = 16;

/// The topic of a message, for example `orders.created`.
///
/// 1 to 255 bytes of printable ASCII in 1 to 16 tokens separated by dots; no empty token, no
/// space, no wildcard (`*`, `>`), and no leading `$` or `_INBOX`, which NATS keeps for itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks `text` and makes a topic of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the rule that the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        text::check("topic", text, text::TEXT_MAX)?;
        if let Some((at, bad)) = text
            .char_indices()
            .find(|(_, c)| !c.is_ascii_graphic() || matches!(c, '*' | '>'))
        {
            return Err(Error::invalid(format!(
                "topic has {bad:?} at byte {at}; use printable ASCII without spaces and without the \
                 wildcards * and >"
            )));
        }
        if text.split('.').any(str::is_empty) {
            return Err(Error::invalid(
                "topic has an empty token; remove the leading, trailing or doubled dot",
            ));
        }
        let tokens = text.split('.').count();
        if tokens > TOKENS_MAX {
            return Err(Error::invalid(format!(
                "topic has {tokens} tokens; at most {TOKENS_MAX} are allowed"
            )));
        }
        if text.starts_with('$') || text.split('.').next() == Some("_INBOX") {
            return Err(Error::invalid(
                "topic starts with $ or _INBOX, which brokers keep for themselves",
            ));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", &*self.0)
    }
}
