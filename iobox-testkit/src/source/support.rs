//! What the cases of sources share: opening, reading, and comparing what came.

use std::{collections::BTreeMap, time::Duration};

use iobox_core::{
    Inbox, Result, Router,
    handler::{self, HandlerError},
    inbox::Delivery,
    memory::MemoryStore,
    message::{Limits, Message},
    partition::Partitions,
    source::{Position, Reader, Room, Source, Start},
    store::Epoch,
};
use tokio::time::{sleep, timeout};

use crate::broker::Stored;
pub use crate::broker::support::{LOOK, ORIGIN, PATIENCE, keyed, message, other_origin};

use super::Harness;

/// The topics of every message that the suite publishes.
pub const TOPICS: [&str; 3] = ["orders.created", "orders.paid", "stock.moved.Far-Away_2"];

/// A message of the first topic with a key, with its number as id and payload.
#[must_use]
pub fn numbered(n: usize) -> Message {
    keyed(&format!("key-{}", n % 7), n)
}

/// Messages numbered `from..to`.
#[must_use]
pub fn range(from: usize, to: usize) -> Vec<Message> {
    (from..to).map(numbered).collect()
}

/// A room for this many messages, with a short wait.
#[must_use]
pub const fn room(messages: usize) -> Room {
    Room {
        messages,
        bytes: 8 * 1024 * 1024,
        wait: Duration::from_millis(200),
    }
}

/// A start behind a position, under an epoch, with the largest limits.
#[must_use]
pub fn start(position: Option<&Position>, epoch: i64) -> Start {
    let limits = Limits::new(Limits::PAYLOAD_MAX).expect("limits");
    Start::new(position.cloned(), Epoch(epoch), 1, limits)
}

/// Opens a reader.
///
/// # Panics
/// When the source refuses.
pub async fn open<S: Source + ?Sized>(
    source: &S,
    position: Option<&Position>,
    epoch: i64,
) -> Box<dyn Reader> {
    let opened = timeout(PATIENCE, source.open(&start(position, epoch))).await;
    opened.expect("open returns").expect("a reader")
}

/// Opens a reader as soon as that is possible, as the ingester does: with higher and higher openings.
///
/// # Panics
/// When it does not become possible.
pub async fn reopen<S: Source + ?Sized>(
    source: &S,
    position: Option<&Position>,
    epoch: i64,
) -> Box<dyn Reader> {
    let mut at = start(position, epoch);
    let opened = timeout(PATIENCE, async {
        loop {
            at.opening += 1;
            match source.open(&at).await {
                Ok(reader) => return reader,
                Err(_) => sleep(LOOK).await,
            }
        }
    });
    opened.await.expect("the source can be opened again")
}

/// What was read so far.
#[derive(Debug, Default)]
pub struct Read {
    /// The arrivals.
    pub deliveries: Vec<Delivery>,
    /// The places of what was refused.
    pub refused: Vec<String>,
    /// How many were lost.
    pub lost: u64,
    /// How far the stream is read.
    pub position: Option<Position>,
}

impl Read {
    /// The ids, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let ids = self.deliveries.iter().map(|one| one.message().id());
        ids.map(ToString::to_string).collect()
    }

    /// The arrivals in a form that can be compared, each topic in its order.
    #[must_use]
    pub fn by_topic<H: Harness>(&self) -> BTreeMap<String, Vec<Stored>> {
        by_topic::<H>(self.deliveries.iter().map(Delivery::message))
    }

    /// Reads one batch, and acks it if it says anything.
    ///
    /// # Errors
    /// As for the reader.
    pub async fn step(&mut self, reader: &mut dyn Reader, room: Room) -> Result<()> {
        let before = self.deliveries.len() + self.refused.len();
        let batch = timeout(PATIENCE, reader.next(room)).await;
        let batch = batch.expect("next returns")?;
        let something = !batch.is_empty();
        self.deliveries.extend(batch.deliveries);
        self.refused
            .extend(batch.refused.into_iter().map(|one| one.place));
        self.lost += batch.lost;
        let after = self.deliveries.len() + self.refused.len();
        assert!(
            after - before <= room.messages,
            "the batch is within its room"
        );
        if batch.position.is_some() {
            self.position = batch.position;
        }
        if something {
            let acked = timeout(PATIENCE, reader.ack()).await;
            acked.expect("ack returns")?;
        }
        Ok(())
    }

    /// Reads and acks until it has seen `count` arrivals, refused ones included.
    ///
    /// # Panics
    /// When they do not come, or more do.
    pub async fn until(&mut self, reader: &mut dyn Reader, count: usize) {
        let read = timeout(PATIENCE, async {
            while self.deliveries.len() + self.refused.len() < count {
                self.step(reader, room(count)).await.expect("a batch");
            }
        });
        assert!(
            read.await.is_ok(),
            "{count} arrivals do not come: {:?}",
            self.ids()
        );
        assert_eq!(
            self.deliveries.len() + self.refused.len(),
            count,
            "{self:?}"
        );
    }

    /// Asserts that nothing more comes for a moment.
    ///
    /// # Panics
    /// When something does.
    pub async fn nothing_more(&mut self, reader: &mut dyn Reader) {
        let before = self.deliveries.len();
        self.step(reader, room(100)).await.expect("a batch");
        assert_eq!(self.deliveries.len(), before, "{:?}", self.ids());
    }
}

/// Messages in a form that can be compared, each topic in its order.
pub fn by_topic<'a, H: Harness>(
    messages: impl Iterator<Item = &'a Message>,
) -> BTreeMap<String, Vec<Stored>> {
    let mut topics: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for message in messages {
        let stored = Stored::of(message);
        let stored = if H::KEEPS_HEADER_ORDER {
            stored
        } else {
            stored.sorted()
        };
        topics.entry(stored.topic.clone()).or_default().push(stored);
    }
    topics
}

/// The ids of messages.
#[must_use]
pub fn ids_of(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|one| one.id().to_string()).collect()
}

/// A store with an inbox of one handler, which notes the ids that it handled.
#[must_use]
pub fn store() -> MemoryStore {
    MemoryStore::new(Partitions::DEFAULT)
}

/// An inbox that reads `source` into `store`, whose only handler calls `note` with each message.
///
/// # Panics
/// When it cannot be built.
pub fn inbox<S: Source>(
    store: &MemoryStore,
    source: S,
    note: impl Fn(&Message) + Clone + Send + Sync + 'static,
) -> Inbox<MemoryStore> {
    let mut router = Router::new();
    let handle = move |message: Message| {
        note(&message);
        async { Ok::<_, HandlerError>(()) }
    };
    router.on(">", "notes", handler::from_fn(handle));
    Inbox::builder(store.clone(), router)
        .source(source)
        .time_to_live(Duration::from_secs(1))
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .build()
        .expect("an inbox")
}
