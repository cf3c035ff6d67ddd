//! The row: a message as it is stored, and what became of it.

use std::time::{Duration, SystemTime};

use iobox::{
    Result,
    message::{Headers, Message, MessageId, OrderingKey, Origin, Topic},
    partition::Partition,
    store::{Body, Entry, Pending, ReplayId, Revision, Seq, State},
};
use serde::{Deserialize, Serialize};

/// The place of a row: its partition and its seq.
pub(crate) type Place = (u8, i64);

/// A stored message. Its parts are text, so that one that breaks a bound can still be shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    headers: String,
    /// Each byte as the character of its number.
    payload: String,
    /// The bytes that the message takes in memory.
    pub(crate) size: usize,
    pub(crate) enqueued_at: Duration,
    pub(crate) status: Status,
}

/// What changes of a row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The [code](State::code) of its state.
    state: i16,
    pub(crate) revision: i32,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) uncertain: bool,
    pub(crate) alone: bool,
    pub(crate) suspect: bool,
    pub(crate) halts: bool,
    pub(crate) absorbed: bool,
    pub(crate) due_at: Option<Duration>,
    pub(crate) settled_at: Option<Duration>,
    pub(crate) reason: Option<String>,
    pub(crate) replay: Option<i64>,
}

impl Status {
    pub(crate) fn state(&self) -> State {
        State::from_code(self.state).unwrap_or(State::Dead)
    }

    pub(crate) fn to(&mut self, state: State) {
        self.state = state.code();
    }

    /// Whether an outcome may still be recorded.
    pub(crate) fn is_open(&self) -> bool {
        use State::{Pending, Retrying, Waiting};
        matches!(self.state(), Pending | Retrying | Waiting)
    }

    /// Whether later rows of its key must wait for it.
    pub(crate) fn blocks(&self) -> bool {
        match self.state() {
            State::Retrying | State::Waiting => true,
            State::Dead => self.halts,
            _ => false,
        }
    }
}

impl Row {
    pub(crate) fn new(message: &Message, partition: Partition, seq: i64, now: Duration) -> Self {
        Self {
            place: (partition.number(), seq),
            id: message.id().to_string(),
            topic: message.topic().to_string(),
            key: message.key().map(OrderingKey::to_string),
            headers: message.headers().to_json(),
            payload: message
                .payload()
                .iter()
                .map(|byte| char::from(*byte))
                .collect(),
            size: message.size(),
            enqueued_at: now,
            status: Status::default(),
        }
    }

    /// The message, if nothing of the row breaks a bound.
    fn message(&self, origin: Origin) -> Result<Message> {
        let bytes = self
            .payload
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'));
        let key = self.key.as_ref().map(OrderingKey::new).transpose()?;
        Ok(Message::new(
            origin,
            MessageId::new(&self.id)?,
            Topic::new(&self.topic)?,
            key,
            Headers::from_json(&self.headers)?,
            bytes.collect::<Vec<u8>>().into(),
        ))
    }

    /// A row that cannot be decoded is no error of the call: it comes as corrupt, and can die.
    fn body(&self, origin: Origin) -> Body {
        self.message(origin)
            .map_or_else(|error| Body::Corrupt(error.to_string()), Body::Message)
    }

    fn key(&self) -> Option<OrderingKey> {
        self.key.as_deref().map(OrderingKey::stored)
    }

    /// The row as a relay gets it.
    pub(crate) fn pending(&self, origin: Origin, now: Duration) -> Pending {
        let status = &self.status;
        Pending {
            partition: Partition::new(self.place.0),
            seq: Seq(self.place.1),
            revision: Revision(status.revision),
            attempt: status.attempt,
            key: self.key(),
            uncertain: status.uncertain,
            alone: status.alone,
            suspect: status.suspect,
            crashes: status.crashes,
            age: now.saturating_sub(self.enqueued_at),
            size: self.size,
            body: self.body(origin),
        }
    }

    /// The row as a person sees it; with its content if an origin is given.
    pub(crate) fn entry(&self, origin: Option<Origin>) -> Entry {
        let at = |time: Duration| SystemTime::UNIX_EPOCH + time;
        let mut entry = Entry::new(
            self.id.clone(),
            Partition::new(self.place.0),
            Seq(self.place.1),
            self.status.state(),
            self.topic.clone(),
            at(self.enqueued_at),
        );
        entry.key = self.key();
        entry.attempt = self.status.attempt;
        entry.uncertain = self.status.uncertain;
        entry.halts = self.status.halts;
        entry.reason.clone_from(&self.status.reason);
        entry.settled_at = self.status.settled_at.map(at);
        entry.body = origin.map(|origin| self.body(origin));
        entry
    }

    pub(crate) fn is_of(&self, replay: ReplayId) -> bool {
        self.status.replay == Some(replay.0)
    }
}
