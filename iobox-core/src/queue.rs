//! The queue: what leases, live instances and shares are counted by.

use std::fmt;

use crate::inbox::{HandlerName, SourceName};

/// A queue of the tables under one schema and prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Queue {
    /// The outbox.
    Outbox,
    /// What one handler of the inbox has to handle.
    Inbox(HandlerName),
    /// The right to read one source: a queue of one partition, without messages of its own.
    Ingest(SourceName),
}

impl Queue {
    /// Its name in tables, metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Outbox => "outbox",
            Self::Inbox(handler) => handler.queue_name(),
            Self::Ingest(source) => source.queue_name(),
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
