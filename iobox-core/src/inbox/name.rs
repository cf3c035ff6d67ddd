//! Names of sources and of handlers, which are stored with their rows.

use std::{fmt, sync::Arc};

use crate::{Error, Result};

/// The longest name of a source or handler, in bytes.
const NAME_MAX: usize = 100;
/// What stands before the name of a handler in the name of its queue.
const HANDLERS: &str = "inbox/";
/// What stands before the name of a source in the name of its queue.
const SOURCES: &str = "ingest/";

/// Refuses a name that is empty, too long, or has a character outside of letters, digits, `-`, `_`,
/// `.` and `/`.
fn check(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::invalid(format!(
            "name of a {what} has {} bytes; it needs 1 to {NAME_MAX}",
            name.len()
        )));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if let Some(at) = name.find(|c| !allowed(c)) {
        return Err(Error::invalid(format!(
            "name of a {what} has a character at byte {at} that is not one of A-Z a-z 0-9 - _ . /"
        )));
    }
    Ok(())
}

/// The name of a source: where deliveries come from, a stream or a webhook for example.
///
/// 1 to 100 of `A-Z a-z 0-9 - _ . /`. The same id may come from two sources: these are two messages.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Checks `name` and makes the name of a source of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it breaks a bound.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        check("source", name.as_ref())?;
        Ok(Self(format!("{SOURCES}{}", name.as_ref()).into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.strip_prefix(SOURCES).unwrap_or(&self.0)
    }

    /// The name of its queue.
    pub(crate) fn queue_name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceName({:?})", self.as_str())
    }
}

/// The name of a handler, stable for its life: rows, attempts and dead letters are kept under it.
///
/// 1 to 100 of `A-Z a-z 0-9 - _ . /`. A handler that gets another name is another handler.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandlerName(Arc<str>);

impl HandlerName {
    /// Checks `name` and makes the name of a handler of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when it breaks a bound.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        check("handler", name.as_ref())?;
        Ok(Self(format!("{HANDLERS}{}", name.as_ref()).into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.strip_prefix(HANDLERS).unwrap_or(&self.0)
    }

    /// The name of its queue.
    pub(crate) fn queue_name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerName({:?})", self.as_str())
    }
}
