//! A row of the in-memory table.

use std::time::Duration;

use crate::{
    message::{Message, OrderingKey},
    partition::Partition,
    store::{
        Body, Change, Entry, Mark, Pending, ReplayId, Revision, Seq, Settled, Settlement, State,
        Verdict,
    },
};

/// A stored message with its state.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) partition: Partition,
    pub(super) seq: Seq,
    pub(super) revision: Revision,
    pub(super) state: State,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) uncertain: bool,
    pub(super) alone: bool,
    pub(super) suspect: bool,
    pub(super) halts: bool,
    pub(super) message: Message,
    /// Set by tests that want a row that cannot be decoded.
    pub(super) corrupt: Option<String>,
    pub(super) enqueued_at: Duration,
    pub(super) due_at: Option<Duration>,
    pub(super) settled_at: Option<Duration>,
    pub(super) reason: Option<String>,
    pub(super) replay: Option<ReplayId>,
    pub(super) absorbed: bool,
}

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 1_000;

impl Row {
    pub(super) fn new(partition: Partition, seq: Seq, message: Message, now: Duration) -> Self {
        Self {
            partition,
            seq,
            revision: Revision(0),
            state: State::Pending,
            attempt: 0,
            crashes: 0,
            uncertain: false,
            alone: false,
            suspect: false,
            halts: false,
            message,
            corrupt: None,
            enqueued_at: now,
            due_at: None,
            settled_at: None,
            reason: None,
            replay: None,
            absorbed: false,
        }
    }

    pub(super) fn key(&self) -> Option<&OrderingKey> {
        self.message.key()
    }

    /// Whether later rows of its key must wait for it.
    pub(super) fn blocks(&self) -> bool {
        match self.state {
            State::Retrying | State::Waiting => true,
            State::Dead => self.halts,
            State::Pending | State::Done | State::Discarded => false,
        }
    }

    /// Whether an outcome may still be recorded.
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self.state,
            State::Pending | State::Retrying | State::Waiting
        )
    }

    /// Applies a settlement whose fence holds.
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Duration) -> Settled {
        if !self.is_open() || self.revision != settlement.revision {
            let repeated = self.revision == settlement.revision.next()
                && self.is_result_of(&settlement.change);
            return if repeated {
                Settled::Applied
            } else {
                Settled::Superseded
            };
        }
        self.revision = self.revision.next();
        self.attempt = settlement.attempt;
        match &settlement.change {
            Change::Verdict(verdict) => {
                self.suspect = false;
                self.alone = false;
                self.crashes = 0;
                self.due_at = None;
                self.record(verdict, now);
            }
            Change::Mark(Mark::Suspect { crashes }) => {
                self.suspect = true;
                self.crashes = *crashes;
            }
            Change::Mark(Mark::Clear { crashes }) => {
                self.suspect = false;
                self.crashes = *crashes;
            }
        }
        Settled::Applied
    }

    fn record(&mut self, verdict: &Verdict, now: Duration) {
        match verdict {
            Verdict::Done { duplicate } => {
                self.state = State::Done;
                self.settled_at = Some(now);
                self.absorbed = *duplicate;
            }
            Verdict::Retry { after, reason } => {
                self.state = State::Retrying;
                self.due_at = Some(now.saturating_add(*after));
                self.reason = Some(cut(reason));
            }
            Verdict::Unknown {
                after,
                reason,
                alone,
            } => {
                self.state = State::Retrying;
                self.due_at = Some(now.saturating_add(*after));
                self.reason = Some(cut(reason));
                self.uncertain = true;
                self.alone = *alone;
            }
            Verdict::Dead {
                reason,
                halts,
                uncertain,
            } => {
                self.state = State::Dead;
                self.settled_at = Some(now);
                self.reason = Some(cut(reason));
                self.uncertain |= *uncertain;
                self.halts = *halts && self.key().is_some();
            }
        }
    }

    /// Whether the row looks as if `change` had just been applied.
    fn is_result_of(&self, change: &Change) -> bool {
        match change {
            Change::Verdict(Verdict::Done { .. }) => self.state == State::Done,
            Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
                self.state == State::Retrying
            }
            Change::Verdict(Verdict::Dead { .. }) => self.state == State::Dead,
            Change::Mark(Mark::Suspect { .. }) => self.is_open() && self.suspect,
            Change::Mark(Mark::Clear { .. }) => self.is_open() && !self.suspect,
        }
    }

    pub(super) fn body(&self) -> Body {
        self.corrupt.as_ref().map_or_else(
            || Body::Message(self.message.clone()),
            |reason| Body::Corrupt(reason.clone()),
        )
    }

    pub(super) fn pending(&self, now: Duration) -> Pending {
        Pending {
            partition: self.partition,
            seq: self.seq,
            revision: self.revision,
            attempt: self.attempt,
            key: self.key().cloned(),
            uncertain: self.uncertain,
            alone: self.alone,
            suspect: self.suspect,
            crashes: self.crashes,
            age: now.saturating_sub(self.enqueued_at),
            size: self.message.size(),
            body: self.body(),
        }
    }

    pub(super) fn entry(&self, with_body: bool) -> Entry {
        let at = |time: Duration| std::time::SystemTime::UNIX_EPOCH + time;
        let mut entry = Entry::new(
            self.message.id().to_string(),
            self.partition,
            self.seq,
            self.state,
            self.message.topic().to_string(),
            at(self.enqueued_at),
        );
        entry.key = self.key().cloned();
        entry.attempt = self.attempt;
        entry.uncertain = self.uncertain;
        entry.halts = self.halts;
        entry.reason.clone_from(&self.reason);
        entry.settled_at = self.settled_at.map(at);
        entry.body = with_body.then(|| self.body());
        entry
    }
}

/// Cuts a reason at the longest that is kept, between two characters.
fn cut(reason: &str) -> String {
    reason
        .get(..reason.floor_char_boundary(REASON_MAX.min(reason.len())))
        .unwrap_or_default()
        .to_owned()
}
