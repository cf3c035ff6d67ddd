//! A rig: a store in memory, a relay from it to JetStream, and what must come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iobox_core::{
    Outbox, Relay,
    dispatch::{BreakerPolicy, RetryPolicy},
    memory::MemoryStore,
    message::Draft,
    partition::Partitions,
    queue::Queue,
    relay::Health,
    store::{Admin as _, Entry, Filter, Page, State, Stats},
};
use iobox_nats::{Config, JetStreamPublisher};
use tokio::{sync::oneshot, task::JoinHandle};

use super::place::Place;

/// How many ordering keys there are.
pub(crate) const KEYS: u32 = 20;

/// A running relay and its outbox.
pub(crate) struct Rig {
    pub(crate) store: MemoryStore,
    pub(crate) health: Health,
    enqueued: u32,
    stop: oneshot::Sender<()>,
    run: JoinHandle<iobox_core::Result<()>>,
}

impl Rig {
    /// Starts a relay with short timeouts, so that outages cost little of the tests' time.
    pub(crate) fn start(config: Config) -> Self {
        let store = MemoryStore::new(Partitions::DEFAULT);
        let (ms, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let retry = RetryPolicy::new(ms * 50, second, 20).expect("a policy");
        let breaker = BreakerPolicy::new(5, ms * 100).expect("a policy");
        let relay = Relay::builder(store.clone(), JetStreamPublisher::new(config))
            .retry(retry)
            .breaker(breaker)
            .build()
            .expect("a relay");
        let health = relay.health();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(relay.run(async { drop(stopped.await) }));
        Self {
            store,
            health,
            enqueued: 0,
            stop,
            run,
        }
    }

    /// Enqueues `count` messages over all keys; the payload tells the place within the key.
    pub(crate) async fn enqueue(&mut self, count: u32) {
        let drafts: Vec<Draft> = (self.enqueued..self.enqueued + count)
            .map(|n| Draft::new("orders.created", (n / KEYS).to_string()).key(n % KEYS))
            .collect();
        self.enqueued += count;
        self.commit(&drafts).await;
    }

    /// Enqueues `count` messages of another topic, without keys.
    pub(crate) async fn enqueue_other(&self, topic: &str, count: u32) {
        let drafts: Vec<Draft> = (0..count)
            .map(|n| Draft::new(topic, n.to_string()))
            .collect();
        self.commit(&drafts).await;
    }

    async fn commit(&self, drafts: &[Draft]) {
        let outbox = Outbox::new(Arc::new(self.store.clone()));
        let mut tx = self.store.begin();
        outbox.enqueue(&mut tx, drafts).await.expect("an enqueue");
        tx.commit().expect("a commit");
        outbox.wake();
    }

    pub(crate) async fn stats(&self) -> Stats {
        self.store.stats(&Queue::Outbox).await.expect("statistics")
    }

    /// How many messages are not done yet.
    pub(crate) async fn open(&self) -> u64 {
        let stats = self.stats().await;
        stats.pending + stats.retrying + stats.waiting + stats.dead
    }

    /// Waits until at most `open` messages are not done.
    pub(crate) async fn wait_for(&self, open: u64) {
        super::until("messages are done", async || self.open().await <= open).await;
    }

    /// Every message as its row tells.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let page = Page {
                after: all.last().map(|entry| entry.seq),
                ..Page::default()
            };
            let filter = Filter::default();
            let more = self.store.list(&Queue::Outbox, &filter, page).await;
            let more = more.expect("a list");
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// Waits until everything is done, stops the relay, and checks the stream: every message is
    /// there, and those of a key are in order at their first appearance. Returns the copies.
    pub(crate) async fn finish(self, place: &Place) -> usize {
        self.wait_for(0).await;
        let entries = self.entries().await;
        assert_eq!(entries.len(), self.enqueued as usize);
        assert!(entries.iter().all(|entry| entry.state == State::Done));
        self.stop.send(()).expect("a running relay");
        self.run.await.expect("no panic").expect("a drained relay");

        let stored = place.stored().await;
        let mut seen = BTreeSet::new();
        let mut next: BTreeMap<String, u32> = BTreeMap::new();
        for one in &stored {
            if !seen.insert(one.id.clone()) {
                continue;
            }
            let key = one.key.clone().expect("a key");
            let number: u32 = String::from_utf8_lossy(&one.payload)
                .parse()
                .expect("a number");
            let expected = next.entry(key.clone()).or_default();
            assert_eq!(number, *expected, "key {key}");
            *expected += 1;
        }
        assert_eq!(seen.len(), self.enqueued as usize, "messages are lost");
        stored.len() - seen.len()
    }
}
