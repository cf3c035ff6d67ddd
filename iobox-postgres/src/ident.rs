//! The identifier: the name of a schema, or the start of the names of tables, in SQL.

use std::fmt;

use iobox_core::{Error, Result};

/// The longest identifier. Postgres cuts names at 63 bytes; the longest name that follows a prefix
/// has 15.
const MAX: usize = 48;

/// A name that may stand in SQL: `[a-z_][a-z0-9_]{0,47}`, not starting with `pg_`.
///
/// It is always written in quotes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ident(String);

impl Ident {
    /// Checks `name`; `field` says in the error whose name it is.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the rule that the name breaks.
    pub(crate) fn new(field: &str, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX {
            return Err(Error::invalid(format!(
                "{field} has {} bytes; it needs 1 to {MAX}",
                name.len()
            )));
        }
        if let Some((at, bad)) = name.char_indices().find(|&(at, c)| {
            !(c.is_ascii_lowercase() || c == '_' || (at > 0 && c.is_ascii_digit()))
        }) {
            return Err(Error::invalid(format!(
                "{field} has {bad:?} at byte {at}; use a to z, _ and, not first, 0 to 9"
            )));
        }
        if name.starts_with("pg_") {
            return Err(Error::invalid(format!(
                "{field} starts with pg_, which Postgres keeps for itself"
            )));
        }
        Ok(Self(name))
    }

    /// The name as text, without quotes.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ident({})", self.0)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken() {
        for name in ["a", "_", "iobox", "orders_2", "_x9", &"a".repeat(48)] {
            assert!(Ident::new("schema", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for name in [
            "",
            "1a",
            "A",
            "Iobox",
            "a-b",
            "a b",
            "a.b",
            "a\"b",
            "a;b",
            "a'b",
            "a--",
            "pg_x",
            "pg_",
            "ü",
            "a\0",
            "a\n",
            "$a",
            "a$",
            "\"",
            "a/*",
            "naïve",
            "ａ",
            &"a".repeat(49),
        ] {
            let error = Ident::new("schema", name).unwrap_err();
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid, "{name:?}");
            assert!(error.to_string().contains("schema"), "{error}");
        }
    }
}
