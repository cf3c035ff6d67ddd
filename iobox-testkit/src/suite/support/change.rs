//! The changes that settlements record, in the words of the cases.

use std::time::Duration;

use iobox_core::store::{Change, Mark, Verdict};

/// Executed.
#[must_use]
pub const fn done() -> Change {
    Change::Verdict(Verdict::Done { duplicate: false })
}

/// Executed, and absorbed by a broker that knew the message.
#[must_use]
pub const fn duplicate() -> Change {
    Change::Verdict(Verdict::Done { duplicate: true })
}

/// Failed, to be tried again after a delay.
#[must_use]
pub fn retry(after: Duration) -> Change {
    Change::Verdict(Verdict::Retry {
        after,
        reason: "refused for now".into(),
    })
}

/// Nobody knows.
#[must_use]
pub fn unknown(after: Duration, alone: bool) -> Change {
    Change::Verdict(Verdict::Unknown {
        after,
        reason: "no answer".into(),
        alone,
    })
}

/// Given up.
#[must_use]
pub fn dead(halts: bool) -> Change {
    dead_because("refused for ever", halts)
}

/// Given up, with a reason.
#[must_use]
pub fn dead_because(reason: &str, halts: bool) -> Change {
    Change::Verdict(Verdict::Dead {
        reason: reason.into(),
        halts,
        uncertain: false,
    })
}

/// Given up although an execution may have succeeded.
#[must_use]
pub fn dead_in_doubt() -> Change {
    Change::Verdict(Verdict::Dead {
        reason: "its process died".into(),
        halts: true,
        uncertain: true,
    })
}

/// About to be executed.
#[must_use]
pub const fn suspect(crashes: u32) -> Change {
    Change::Mark(Mark::Suspect { crashes })
}

/// Not executed after all.
#[must_use]
pub const fn clear(crashes: u32) -> Change {
    Change::Mark(Mark::Clear { crashes })
}
