//! The outcome of one execution, as an executor reports it.

use std::time::Duration;

/// What became of one execution of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Ok {
        /// Whether the broker knew the message already.
        duplicate: bool,
    },
    /// It succeeded, and its verdict was recorded in the transaction of its effects: there is nothing
    /// left to settle.
    Settled,
    /// It failed and may succeed later.
    Transient {
        /// Why.
        reason: String,
        /// When to run it again, instead of the backoff.
        after: Option<Duration>,
    },
    /// It will never succeed.
    Permanent {
        /// Why.
        reason: String,
    },
    /// It did not happen, and through no fault of the message.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// It may have happened.
    Unknown {
        /// What is known.
        reason: String,
    },
}
