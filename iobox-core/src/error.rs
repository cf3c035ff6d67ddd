//! The error of every trait of this crate, whose kind says what to do next.

use std::{borrow::Cow, error, fmt};

/// The result of the traits of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an [`Error`].
///
/// Nobody needs to look at the source of an error to decide: each adapter maps what its driver
/// says onto these kinds in one `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The other side cannot be reached or is overloaded: the same call may succeed later.
    ///
    /// Whether the call took effect may be unknown; every call of [`Store`](crate::Store) may be
    /// repeated.
    Unavailable,
    /// A concurrent transaction got in the way: roll back and run the whole transaction again.
    Conflict,
    /// The other side understood and will never accept this: do not repeat it.
    Rejected,
    /// The input or a setting breaks a stated bound: the message names it. Nothing was written.
    Invalid,
    /// What is stored cannot be read back: the row needs a person.
    Corrupt,
    /// The lease is no longer held: drop the work, somebody else does it.
    LeaseLost,
    /// A defect of this library or of an adapter: report it.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::Corrupt => "corrupt",
            Self::LeaseLost => "lease lost",
            Self::Internal => "internal",
        })
    }
}

/// An error with a [kind](ErrorKind), a sentence for a person, and its source.
///
/// The sentence names fields, bounds and sizes, never payloads, keys or secrets.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Makes an error of kind [`Invalid`](ErrorKind::Invalid).
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an error of kind [`Unavailable`](ErrorKind::Unavailable).
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Makes an error of kind [`Internal`](ErrorKind::Internal).
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Makes an error of kind [`Corrupt`](ErrorKind::Corrupt).
    pub fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Adds what caused this error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Conflict)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn error::Error + 'static))
    }
}
