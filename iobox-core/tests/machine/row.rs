//! A row of the model store, written from the contract of `Store::settle` and from nothing else.

use std::time::Duration;

use bytes::Bytes;
use iobox_core::{
    message::{Headers, Message, MessageId, OrderingKey, Origin, Topic},
    partition::Partition,
    store::{Body, Change, Mark, Pending, Revision, Seq, Settled, Settlement, State, Verdict},
};
use uuid::Uuid;

/// One stored message.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) partition: Partition,
    pub(crate) seq: Seq,
    pub(crate) revision: i32,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) uncertain: bool,
    pub(crate) alone: bool,
    pub(crate) suspect: bool,
    pub(crate) halts: bool,
    pub(crate) due: Option<Duration>,
    pub(crate) enqueued: Duration,
    pub(crate) message: Message,
    pub(crate) corrupt: bool,
    /// It is waiting since a fetch that took effect long after its caller gave it up.
    pub(crate) set_aside_late: bool,
}

/// A message with this id, and this key if it is not empty.
pub(crate) fn message(id: &str, key: &str) -> Message {
    let key = (!key.is_empty()).then(|| OrderingKey::new(key).unwrap());
    Message::new(
        Origin::new(Uuid::from_u128(1)),
        MessageId::new(id).unwrap(),
        Topic::new("t").unwrap(),
        key,
        Headers::new(),
        Bytes::from_static(b"0123456789"),
    )
}

impl Row {
    pub(crate) fn new(partition: Partition, seq: Seq, message: Message, now: Duration) -> Self {
        Self {
            partition,
            seq,
            revision: 0,
            state: State::Pending,
            attempt: 0,
            crashes: 0,
            uncertain: false,
            alone: false,
            suspect: false,
            halts: false,
            due: None,
            enqueued: now,
            message,
            corrupt: false,
            set_aside_late: false,
        }
    }

    pub(crate) fn key(&self) -> Option<&OrderingKey> {
        self.message.key()
    }

    pub(crate) fn id(&self) -> &str {
        self.message.id().as_str()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Pending | State::Retrying)
    }

    fn may_be_settled(&self) -> bool {
        self.is_open() || self.state == State::Waiting
    }

    /// Whether later rows of its key must wait for it.
    pub(crate) fn blocks(&self) -> bool {
        self.key().is_some()
            && (matches!(self.state, State::Retrying | State::Waiting)
                || (self.state == State::Dead && self.halts))
    }

    pub(crate) fn pending(&self, now: Duration) -> Pending {
        Pending {
            partition: self.partition,
            seq: self.seq,
            revision: Revision(self.revision),
            attempt: self.attempt,
            key: self.key().cloned(),
            uncertain: self.uncertain,
            alone: self.alone,
            suspect: self.suspect,
            crashes: self.crashes,
            age: now.saturating_sub(self.enqueued),
            size: self.message.size(),
            body: if self.corrupt {
                Body::Corrupt("a damaged row".into())
            } else {
                Body::Message(self.message.clone())
            },
        }
    }

    /// Applies a settlement whose fence holds.
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Duration) -> Settled {
        let at = settlement.revision.0;
        if !self.may_be_settled() || self.revision != at {
            let ours = self.revision == at + 1 && self.is_result_of(&settlement.change);
            return if ours {
                Settled::Applied
            } else {
                Settled::Superseded
            };
        }
        self.revision += 1;
        self.attempt = settlement.attempt;
        match &settlement.change {
            Change::Mark(Mark::Suspect { crashes }) => {
                self.suspect = true;
                self.crashes = *crashes;
            }
            Change::Mark(Mark::Clear { crashes }) => {
                self.suspect = false;
                self.crashes = *crashes;
            }
            Change::Verdict(verdict) => {
                self.suspect = false;
                self.alone = false;
                self.crashes = 0;
                self.due = None;
                self.record(verdict, now);
            }
        }
        Settled::Applied
    }

    fn record(&mut self, verdict: &Verdict, now: Duration) {
        match verdict {
            Verdict::Done { .. } => self.state = State::Done,
            Verdict::Retry { after, .. } => {
                self.state = State::Retrying;
                self.due = Some(now + *after);
            }
            Verdict::Unknown { after, alone, .. } => {
                self.state = State::Retrying;
                self.due = Some(now + *after);
                self.uncertain = true;
                self.alone = *alone;
            }
            Verdict::Dead {
                halts, uncertain, ..
            } => {
                self.state = State::Dead;
                self.uncertain |= *uncertain;
                self.halts = *halts && self.key().is_some();
            }
        }
    }

    fn is_result_of(&self, change: &Change) -> bool {
        match change {
            Change::Verdict(Verdict::Done { .. }) => self.state == State::Done,
            Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
                self.state == State::Retrying
            }
            Change::Verdict(Verdict::Dead { .. }) => self.state == State::Dead,
            Change::Mark(Mark::Suspect { .. }) => self.may_be_settled() && self.suspect,
            Change::Mark(Mark::Clear { .. }) => self.may_be_settled() && !self.suspect,
        }
    }
}
