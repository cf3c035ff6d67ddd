//! The entry: one input, and what must become of it.

use std::fmt;

use iobox_core::ErrorKind;

/// Stands in inputs where a user might have put a secret. No text that an adapter makes may hold it.
pub const SECRET: &str = "s3cr3t";

/// One input, and what must become of it. `Debug` shows the name alone: inputs may be long.
#[derive(Clone)]
pub struct Entry<T = String> {
    /// What is hostile about it.
    pub name: String,
    /// The input.
    pub input: T,
    /// What must become of it.
    pub verdict: Verdict,
}

/// What must become of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken, and comes back as it is.
    Taken,
    /// It is refused.
    Refused {
        /// With this kind.
        kind: ErrorKind,
        /// The text of the error says this, besides the name of the field.
        says: &'static str,
    },
}

impl<T> Entry<T> {
    /// An input that is taken.
    pub fn taken(name: impl Into<String>, input: impl Into<T>) -> Self {
        Self {
            name: name.into(),
            input: input.into(),
            verdict: Verdict::Taken,
        }
    }

    /// An input that is refused as [`Invalid`](ErrorKind::Invalid).
    pub fn refused(name: impl Into<String>, input: impl Into<T>, says: &'static str) -> Self {
        Self {
            name: name.into(),
            input: input.into(),
            verdict: Verdict::Refused {
                kind: ErrorKind::Invalid,
                says,
            },
        }
    }

    /// The same, refused as another kind.
    #[must_use]
    pub fn as_kind(mut self, kind: ErrorKind) -> Self {
        if let Verdict::Refused { says, .. } = self.verdict {
            self.verdict = Verdict::Refused { kind, says };
        }
        self
    }

    /// Whether it is taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.verdict == Verdict::Taken
    }
}

impl<T> fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

/// The inputs of a table that are taken.
#[must_use]
pub fn taken<T>(entries: Vec<Entry<T>>) -> Vec<T> {
    let taken = entries.into_iter().filter(Entry::is_taken);
    taken.map(|entry| entry.input).collect()
}

/// An entry that is taken and named after its input, which is written with escapes.
pub(super) fn plain(input: &str) -> Entry {
    Entry::taken(input.escape_debug().to_string(), input)
}

/// An entry that is refused and named after its input, which is written with escapes.
pub(super) fn bad(input: &str, says: &'static str) -> Entry {
    Entry::refused(input.escape_debug().to_string(), input, says)
}

/// Every control character: those of ASCII, delete, and the second block of ISO 8859.
pub(super) fn controls() -> impl Iterator<Item = char> {
    ('\0'..='\u{9f}').filter(|c| c.is_control())
}
