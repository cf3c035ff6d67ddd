//! The identifier: the prefix of every table, checked before it becomes a part of SQL.

use std::fmt;

use iobox_core::{Error, Result};

use crate::Config;

/// A prefix of table names: `[a-z_][a-z0-9_]{0,47}`, and not SQLite's own `sqlite_`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ident(String);

impl Ident {
    /// The most bytes.
    pub(crate) const BYTES_MAX: usize = 48;

    /// Checks `text` and makes an identifier of it.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the rule that the text breaks.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(Error::invalid(format!(
                "table_prefix has {} bytes; it needs 1 to {}",
                text.len(),
                Self::BYTES_MAX
            )));
        }
        let fits = |(at, byte): (usize, u8)| {
            byte.is_ascii_lowercase() || byte == b'_' || (at > 0 && byte.is_ascii_digit())
        };
        if !text.bytes().enumerate().all(fits) {
            return Err(Error::invalid(
                "table_prefix must match [a-z_][a-z0-9_]*: lower case, digits and underscores",
            ));
        }
        if text.starts_with("sqlite_") {
            return Err(Error::invalid(
                "table_prefix starts with sqlite_, which SQLite keeps for itself",
            ));
        }
        Ok(Self(text))
    }

    /// The identifier as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Ident {
    /// The prefix `iobox_`.
    fn default() -> Self {
        Self(String::from(Config::TABLE_PREFIX))
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ident({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_its_place_in_sql_is_refused() {
        let long = "a".repeat(49);
        for bad in [
            "", "1a", "A", "iobox-", "a b", "a\"b", "a'b", "a;b", "a--", "a\0", "ä", "a.b", "a\n",
            "`a", "[a", "a%s", "sqlite_", "sqlite_x", &long,
        ] {
            assert!(Ident::new(bad).is_err(), "{bad:?}");
        }
        let longest = "a".repeat(48);
        for good in [
            "a", "_", "iobox_", "select", "a1_", "__", "sqlite", &longest,
        ] {
            assert!(Ident::new(good).is_ok(), "{good:?}");
        }
    }
}
