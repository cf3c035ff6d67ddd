//! The clock: the one place of this crate that asks the machine for the time of day.

use std::time::SystemTime;

/// The time of day, which only tells how old an entry is.
#[allow(
    clippy::disallowed_methods,
    reason = "brokers tell the time of day, and nothing depends on how old an entry is"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
