//! A row in memory and the stage it is in.

use std::time::Duration;

use super::{RunId, Time, key::Hashed};
use crate::{
    message::Message,
    store::{Change, Pending, Revision, Verdict},
};

/// What is being done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// It may run when its turn comes.
    Ready,
    /// It was unavailable and waits for a moment.
    Paused,
    /// It is being marked as a suspect before it runs.
    Marking,
    /// It runs.
    Running {
        /// The execution.
        run: RunId,
        /// When it started.
        since: Time,
    },
    /// Its outcome is held until a probe tells whose fault it was.
    Judging,
    /// A settlement is queued or under way.
    Settling,
}

/// A row in memory.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Held {
    pub(super) revision: Revision,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) key: Option<Hashed>,
    pub(super) uncertain: bool,
    /// It runs alone: its last outcome was unknown and not counted.
    pub(super) alone: bool,
    /// It was found marked by an owner that died.
    pub(super) suspect: bool,
    /// The owner before may have executed it: a crash is an unknown outcome.
    pub(super) doubtful: bool,
    /// It runs beside others although it is a suspect: a planted bug alone sets it.
    pub(super) in_company: bool,
    /// It was marked under this epoch.
    pub(super) marked: bool,
    /// 1 when its attempt and crash were recorded before it ran, else 0.
    pub(super) counted_ahead: u32,
    /// How often it was unavailable since it was fetched.
    pub(super) refused: u32,
    pub(super) size: usize,
    /// When it was enqueued, by this clock.
    pub(super) age_at_fetch: Duration,
    pub(super) fetched_at: Time,
    pub(super) message: Option<Message>,
    pub(super) stage: Stage,
    pub(super) change: Option<(u32, Change)>,
}

impl Held {
    pub(super) fn new(
        pending: &Pending,
        key: Option<Hashed>,
        message: Option<Message>,
        now: Time,
    ) -> Self {
        Self {
            revision: pending.revision,
            attempt: pending.attempt,
            crashes: pending.crashes,
            key,
            uncertain: pending.uncertain,
            alone: pending.alone,
            suspect: pending.suspect,
            doubtful: pending.suspect,
            in_company: false,
            marked: false,
            counted_ahead: 0,
            refused: 0,
            size: pending.size,
            age_at_fetch: pending.age,
            fetched_at: now,
            message,
            stage: Stage::Ready,
            change: None,
        }
    }

    /// Whether later rows of its key may run although this one is not settled yet: a crash before
    /// it is repeats it, which a message that was taken survives in its place, and a failed one that
    /// the next attempt gets through would not.
    pub(super) fn is_passable(&self) -> bool {
        self.stage == Stage::Settling
            && matches!(
                self.change,
                Some((_, Change::Verdict(Verdict::Done { .. })))
            )
    }

    /// Whether it must run with nothing else in flight.
    pub(super) const fn needs_solo(&self) -> bool {
        self.suspect && !self.in_company || self.alone
    }
}
