//! The ledger: what was written, sent and answered, and what there is at the end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use iobox::{
    message::Message,
    publisher::{PublishError, Receipt},
    store::Entry,
};

/// A message that an application wrote.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Its place among those of its key.
    pub(crate) position: usize,
    /// Whether its COMMIT was confirmed.
    pub(crate) certain: bool,
}

/// What was sent of one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How often.
    pub(crate) times: usize,
    /// How often the broker had it, as it answered.
    pub(crate) taken: usize,
    /// How often it had not.
    pub(crate) refused: usize,
}

impl Sent {
    /// How often nobody knows.
    pub(crate) const fn unknown(&self) -> usize {
        self.times - self.taken - self.refused
    }
}

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Sends(Mutex<BTreeMap<String, Sent>>);

impl Sends {
    pub(crate) fn sent(&self, batch: &[Message]) {
        let mut sends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for message in batch {
            let id = message.id().to_string();
            sends.entry(id).or_default().times += 1;
        }
    }

    pub(crate) fn answered(&self, message: &Message, outcome: &Result<Receipt, PublishError>) {
        let mut sends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sends.entry(message.id().to_string()).or_default();
        match outcome {
            Ok(_) => sent.taken += 1,
            Err(PublishError::Unknown(_)) => {}
            Err(_) => sent.refused += 1,
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<String, Sent> {
        let sends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sends.clone()
    }
}

/// A message in the log of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) key: Option<String>,
}

/// Everything that there is at the end.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The rows of the outbox.
    pub(crate) outbox: Vec<Entry>,
    /// The rows of the handler.
    pub(crate) inbox: Vec<Entry>,
    /// The log of the broker, in its order.
    pub(crate) log: Vec<Accepted>,
    /// How many effects each message had.
    pub(crate) effects: BTreeMap<String, usize>,
    /// What was sent.
    pub(crate) sends: BTreeMap<String, Sent>,
    /// Whether the transactions of the handler go through the cable.
    pub(crate) handles_there: bool,
    /// Whether the broker keeps one copy of a message that is sent twice.
    pub(crate) absorbs: bool,
}
