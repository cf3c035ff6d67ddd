//! The in-memory broker.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::MemorySource;
use crate::{
    Result,
    inbox::SourceName,
    message::Message,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
};

/// A broker in memory: one log of messages. Clones are the same broker.
///
/// It keeps one copy of each wire id, as JetStream does within its duplicate window, and takes at
/// most a fixed number of messages; when it is full it is [`Unavailable`](PublishError::Unavailable).
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    log: Mutex<Log>,
    len: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    messages: Vec<Message>,
    known: HashSet<String>,
}

/// A message in the broker's log.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its place in the log, from 0.
    pub offset: usize,
    /// The message.
    pub message: Message,
}

impl MemoryBroker {
    /// The default capacity, in messages.
    pub const CAPACITY_DEFAULT: usize = 1_000_000;

    /// An empty broker with the default capacity.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY_DEFAULT)
    }

    /// An empty broker that takes at most `capacity` messages.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                capacity,
                log: Mutex::default(),
                len: watch::Sender::new(0),
            }),
        }
    }

    /// At most `limit` messages from `offset` on.
    #[must_use]
    pub fn read(&self, offset: usize, limit: usize) -> Vec<Published> {
        self.log()
            .messages
            .iter()
            .enumerate()
            .skip(offset)
            .take(limit)
            .map(|(offset, message)| Published {
                offset,
                message: message.clone(),
            })
            .collect()
    }

    /// Its log as the source `name` of an inbox.
    #[must_use]
    pub fn source(&self, name: SourceName) -> MemorySource {
        MemorySource::new(name, self.clone())
    }

    /// How many messages the log holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log().messages.len()
    }

    /// Whether the log is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the log holds at least `count` messages. Safe to drop.
    pub async fn wait_for(&self, count: usize) {
        // The sender lives as long as self, so that the wait ends only when the log is long enough.
        let _ = self
            .shared
            .len
            .subscribe()
            .wait_for(|len| *len >= count)
            .await;
    }

    /// Forgets which ids it has seen, as a broker does when its duplicate window has passed.
    pub fn forget_ids(&self) {
        self.log().known.clear();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, message: &Message) -> Result<Receipt, PublishError> {
        let mut log = self.log();
        let id = message.wire_id();
        if log.known.contains(&id) {
            return Ok(Receipt::duplicate());
        }
        if log.messages.len() >= self.shared.capacity {
            return Err(PublishError::Unavailable(format!(
                "the broker is full: it holds {} messages",
                self.shared.capacity
            )));
        }
        log.known.insert(id);
        log.messages.push(message.clone());
        Ok(Receipt::new())
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("messages", &self.len())
            .field("capacity", &self.shared.capacity)
            .finish()
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        for (index, message) in batch.iter().enumerate() {
            outcomes.report(index, self.take(message));
        }
        self.shared.len.send_replace(self.len());
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Volatile)
    }
}
