//! Outcomes: how a publisher reports what became of each message.

use std::{fmt, sync::Arc};

/// The broker's confirmation that it has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Whether the broker knew the message already and kept one copy.
    pub duplicate: bool,
}

impl Receipt {
    /// The broker took the message.
    #[must_use]
    pub const fn new() -> Self {
        Self { duplicate: false }
    }

    /// The broker had the message already.
    #[must_use]
    pub const fn duplicate() -> Self {
        Self { duplicate: true }
    }
}

/// Why a message was not confirmed. The text is kept with the message; it must hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker answered that it did not take this message now.
    #[error("transient: {0}")]
    Transient(String),
    /// The broker will never take this message.
    #[error("permanent: {0}")]
    Permanent(String),
    /// The broker as a whole cannot take messages; this one was definitely not taken.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Nobody knows whether the broker took it.
    #[error("unknown: {0}")]
    Unknown(String),
}

/// Called once for each message of a batch, with its index.
type Sink = Arc<dyn Fn(usize, Result<Receipt, PublishError>) + Send + Sync>;

/// Collects the outcome of each message of one batch.
///
/// What is not reported when it is dropped counts as [`PublishError::Unknown`].
pub struct Outcomes {
    sink: Sink,
    open: Vec<bool>,
}

impl Outcomes {
    /// Outcomes of a batch of `count` messages, handed to `sink` once each.
    pub fn new(
        count: usize,
        sink: impl Fn(usize, Result<Receipt, PublishError>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            sink: Arc::new(sink),
            open: vec![true; count],
        }
    }

    /// Reports the outcome of the message at `index`. A second report for it is ignored, and so is
    /// an index beyond the batch.
    pub fn report(&mut self, index: usize, outcome: Result<Receipt, PublishError>) {
        if let Some(open) = self.open.get_mut(index)
            && std::mem::take(open)
        {
            (self.sink)(index, outcome);
        }
    }

    /// Reports [`Unknown`](PublishError::Unknown) with this reason for every message that has no
    /// outcome yet.
    pub fn close(&mut self, reason: &str) {
        for index in 0..self.open.len() {
            self.report(index, Err(PublishError::Unknown(reason.to_owned())));
        }
    }

    /// How many messages have no outcome yet.
    #[must_use]
    pub fn unreported(&self) -> usize {
        self.open.iter().filter(|open| **open).count()
    }
}

impl Drop for Outcomes {
    fn drop(&mut self) {
        self.close("the publisher ended without an outcome");
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("messages", &self.open.len())
            .field("unreported", &self.unreported())
            .finish_non_exhaustive()
    }
}
