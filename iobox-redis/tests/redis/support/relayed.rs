//! A relay from a store in memory to a place, and what arrived there.

use std::collections::{HashMap, HashSet};

use iobox_core::{
    Outbox, Relay, Result,
    memory::MemoryStore,
    message::Draft,
    partition::Partitions,
    queue::Queue,
    relay::Health,
    store::{Admin as _, Filter, Page, State},
};
use iobox_redis::RedisPublisher;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Place, until};

/// How many messages are executed at a time.
pub(crate) const IN_FLIGHT: usize = 200;
/// How many are settled at a time.
pub(crate) const BATCH: usize = 100;

/// A running relay.
pub(crate) struct Relayed {
    pub(crate) store: MemoryStore,
    pub(crate) health: Health,
    outbox: Outbox<MemoryStore>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<()>>,
    sent: usize,
}

impl Relayed {
    pub(crate) fn start(publisher: RedisPublisher) -> Self {
        let store = MemoryStore::new(Partitions::DEFAULT);
        let relay = Relay::builder(store.clone(), publisher)
            .max_in_flight(IN_FLIGHT)
            .batch(BATCH)
            .build()
            .expect("a relay");
        let (stop, stopped) = oneshot::channel::<()>();
        Self {
            health: relay.health(),
            outbox: Outbox::new(store.clone()),
            store,
            stop,
            run: tokio::spawn(relay.run(async {
                let _ = stopped.await;
            })),
            sent: 0,
        }
    }

    /// Enqueues `count` messages `<key>/<number>`, each key in order.
    pub(crate) async fn enqueue(&mut self, count: usize, keys: usize) {
        let drafts: Vec<Draft> = (self.sent..self.sent + count)
            .map(|n| {
                let key = n % keys;
                let topic = format!("orders.{}", key % 3);
                Draft::new(topic, "payload")
                    .id(format!("{key}/{n:06}"))
                    .key(key)
            })
            .collect();
        let mut tx = self.store.begin();
        self.outbox
            .enqueue(&mut tx, &drafts)
            .await
            .expect("enqueue");
        tx.commit().expect("commit");
        self.outbox.wake();
        self.sent += count;
    }

    /// How many messages are in a state.
    pub(crate) async fn open(&self) -> u64 {
        let stats = self.store.stats(&Queue::Outbox).await.expect("stats");
        assert_eq!(stats.dead, 0, "no message dies of an outage");
        stats.pending + stats.retrying + stats.waiting
    }

    /// Waits until everything is published, stops the relay, and returns the highest attempt.
    pub(crate) async fn end(self) -> u32 {
        until("everything is published", async || self.open().await == 0).await;
        self.stop.send(()).expect("a running relay");
        self.run.await.expect("no panic").expect("a relay");
        let mut highest = 0;
        let mut page = Page::default();
        let done = Filter {
            states: vec![State::Done],
            ..Filter::default()
        };
        loop {
            let list = self
                .store
                .list(&Queue::Outbox, &done, page)
                .await
                .expect("a list");
            let Some(last) = list.last() else {
                return highest;
            };
            page.after = Some(last.seq);
            highest = highest.max(list.iter().map(|one| one.attempt).max().unwrap_or(0));
        }
    }
}

/// Checks that the place holds each of `count` messages, each key in order at first appearance.
/// Returns how many copies there are besides.
pub(crate) async fn complete_in_order(place: &Place, count: usize, keys: usize) -> usize {
    let ids = place.ids().await;
    let copies = ids.len();
    let mut seen = HashSet::new();
    let mut last: HashMap<String, String> = HashMap::new();
    for id in ids {
        if !seen.insert(id.clone()) {
            continue;
        }
        let (key, number) = id.split_once('/').expect("an id of this test");
        let before = last.insert(key.to_owned(), number.to_owned());
        assert!(
            before.is_none_or(|before| *before < *number),
            "{id} is late"
        );
    }
    assert_eq!((seen.len(), last.len()), (count, keys));
    copies - count
}
