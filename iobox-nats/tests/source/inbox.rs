//! An inbox: what its handlers saw, and how it is stopped and started.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iobox_core::{
    Inbox, Router,
    handler::{self, HandlerError},
    inbox::InboxHandle,
    memory::MemoryStore,
    message::Message,
    partition::Partitions,
};
use iobox_nats::SourceConfigBuilder;

use crate::{
    desk::source,
    support::{PATIENCE, until},
};

/// A store, and what handlers saw of it.
pub(crate) struct Books {
    pub(crate) store: MemoryStore,
    seen: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(Partitions::DEFAULT),
            seen: Arc::default(),
        }
    }

    /// Starts an inbox that reads a source.
    pub(crate) fn read(&self, config: SourceConfigBuilder) -> InboxHandle<MemoryStore> {
        let mut router: Router<MemoryStore> = Router::new();
        let seen = Arc::clone(&self.seen);
        let note = move |message: Message| {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            let key = message.key().map_or("", |key| key.as_str()).to_owned();
            let number = text.parse().expect("a number");
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((key, number));
            async { Ok::<_, HandlerError>(()) }
        };
        router.on("orders.*", "note", handler::from_fn(note));
        let inbox = Inbox::builder(self.store.clone(), router)
            .time_to_live(Duration::from_secs(2))
            .source(source(config));
        inbox.build().expect("an inbox").spawn()
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits until handlers saw this many.
    pub(crate) async fn wait_for(&self, count: usize) {
        until("messages are handled", async || self.seen() >= count).await;
    }

    /// Checks that each of `count` messages was handled once, in the order of its key.
    pub(crate) fn check(&self, count: u32) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers: Vec<u32> = seen.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        for (key, number) in seen.iter() {
            let before = last.insert(key, *number);
            assert!(before.is_none_or(|before| before < *number), "key {key}");
        }
    }
}

pub(crate) async fn stop(running: InboxHandle<MemoryStore>) {
    let drained = tokio::time::timeout(PATIENCE, running.drain()).await;
    drained.expect("a drain in time").expect("a drain");
}
