//! The relay on the in-memory store and broker.

#![allow(
    clippy::disallowed_methods,
    reason = "the paused clock jumps from timer to timer"
)]

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, ErrorKind, Outbox, Relay, RelayHandle,
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Message},
    partition::Partitions,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
    queue::Queue,
    store::{Admin, Filter, Page, Selection, State},
};
use tokio::sync::oneshot;

async fn enqueue(store: &MemoryStore, drafts: &[Draft]) {
    let outbox = Outbox::new(store.clone());
    let mut tx = store.begin();
    outbox.enqueue(&mut tx, drafts).await.unwrap();
    tx.commit().unwrap();
    outbox.wake();
}

#[tokio::test(start_paused = true)]
async fn publishes_everything_in_order_per_key() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let broker = MemoryBroker::new();
    let drafts: Vec<_> = (0..2_000)
        .map(|n| Draft::new("orders", n.to_string()).key(n % 50))
        .collect();
    enqueue(&store, &drafts).await;
    let relay = Relay::builder(store.clone(), broker.clone())
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let run = tokio::spawn(relay.run(async {
        let _ = stopped.await;
    }));
    broker.wait_for(2_000).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();

    let published = broker.read(0, usize::MAX);
    assert_eq!(published.len(), 2_000);
    for key in 0..50 {
        let of_key: Vec<u32> = published
            .iter()
            .filter(|p| p.message.key().unwrap().as_str() == key.to_string())
            .map(|p| {
                std::str::from_utf8(p.message.payload())
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(of_key.len(), 40);
        assert!(of_key.is_sorted(), "key {key} is out of order");
    }
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert_eq!(
        (stats.pending, stats.dead, stats.instances.len()),
        (0, 0, 0)
    );
    assert!(stats.partitions.iter().all(|p| p.owner.is_none()));
}

/// Rejects the first message of the key "bad", whatever else comes.
#[derive(Debug, Clone)]
struct Rejecting(MemoryBroker);

#[async_trait]
impl Publisher for Rejecting {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        for (index, message) in batch.iter().enumerate() {
            if message.id().as_str() == "bad-0" {
                outcomes.report(index, Err(PublishError::Permanent("no".into())));
            } else {
                let mut one = Outcomes::new(1, |_, _| {});
                self.0
                    .publish(std::slice::from_ref(message), &mut one)
                    .await;
                outcomes.report(index, Ok(Receipt::new()));
            }
        }
    }

    async fn probe(&self) -> iobox_core::Result<Durability> {
        self.0.probe().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_message_halts_its_key_until_it_is_discarded() {
    let store = MemoryStore::new(Partitions::new(1).unwrap());
    let broker = MemoryBroker::new();
    let bad = (0..3_000).map(|n| Draft::new("t", "").id(format!("bad-{n}")).key("bad"));
    let good = (0..100).map(|n| Draft::new("t", "").id(format!("good-{n}")).key(n % 7));
    enqueue(&store, &bad.chain(good).collect::<Vec<_>>()).await;
    let relay = Relay::builder(store.clone(), Rejecting(broker.clone()))
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let run = tokio::spawn(relay.run(async {
        let _ = stopped.await;
    }));
    broker.wait_for(100).await;
    assert!(
        broker
            .read(0, 200)
            .iter()
            .all(|p| p.message.id().as_str().starts_with("good"))
    );
    let queue = Queue::Outbox;
    while store.stats(&queue).await.unwrap().waiting < 2_999 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stats = store.stats(&queue).await.unwrap();
    assert_eq!((stats.dead, stats.halted_keys, stats.pending), (1, 1, 0));

    let dead = Filter {
        states: vec![State::Dead],
        ..Filter::default()
    };
    let dead = store.list(&queue, &dead, Page::default()).await.unwrap();
    assert_eq!(dead[0].id, "bad-0");
    let one = Selection::One("bad-0".parse_id());
    store.discard(&queue, &one, false).await.unwrap();
    broker.wait_for(3_099).await;
    let order: Vec<String> = broker
        .read(100, 4_000)
        .into_iter()
        .map(|p| p.message.id().to_string())
        .collect();
    let expected: Vec<String> = (1..3_000).map(|n| format!("bad-{n}")).collect();
    assert_eq!(order, expected);
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
}

trait ParseId {
    fn parse_id(&self) -> iobox_core::message::MessageId;
}

impl ParseId for str {
    fn parse_id(&self) -> iobox_core::message::MessageId {
        iobox_core::message::MessageId::new(self).unwrap()
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_by_name() {
    let build = |change: fn(iobox_core::relay::RelayBuilder) -> iobox_core::relay::RelayBuilder| {
        let builder = Relay::builder(MemoryStore::new(Partitions::DEFAULT), MemoryBroker::new());
        let error = change(builder).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let second = Duration::from_secs(1);
    assert!(build(|b| b.batch(0)).contains("batch is 0; it needs 1 to 10000"));
    assert!(build(|b| b.max_in_flight(100_001)).contains("max_in_flight"));
    assert!(build(|b| b.max_buffered_bytes(1)).contains("max_buffered_bytes"));
    assert!(build(|b| b.time_to_live(Duration::from_millis(999))).contains("time_to_live"));
    assert!(build(|b| b.publish_timeout(Duration::from_secs(9))).contains("raise time_to_live"));
    assert!(build(|b| b.poll(Duration::from_secs(2), Duration::from_secs(1))).contains("poll"));
    assert!(build(|b| b.grace(Duration::from_secs(601))).contains("grace"));
    assert!(build(|b| b.retention(Some(Duration::ZERO))).contains("retention"));
    assert!(build(|b| b.max_crashes(0)).contains("max_crashes"));
    let _ = second;
}

fn relay_of(store: &MemoryStore, broker: &MemoryBroker) -> RelayHandle {
    let relay = Relay::builder(store.clone(), broker.clone());
    relay.build().unwrap().spawn()
}

#[tokio::test(start_paused = true)]
async fn a_spawned_relay_empties_the_outbox_and_drains() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let broker = MemoryBroker::new();
    let drafts: Vec<_> = (0..2_000)
        .map(|n| Draft::new("orders", "").key(n % 50))
        .collect();
    enqueue(&store, &drafts).await;
    let relay = relay_of(&store, &broker);
    relay
        .wait_until_empty(Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(broker.len(), 2_000);
    relay
        .wait_until_empty(Duration::from_secs(10))
        .await
        .unwrap();
    relay.drain().await.unwrap();
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert_eq!((stats.unsettled(), stats.instances.len()), (0, 0));
    assert!(stats.partitions.iter().all(|p| p.owner.is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_does_not_get_empty_says_what_is_left() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let broker = MemoryBroker::new();
    let relay = Relay::builder(store.clone(), Rejecting(broker.clone()));
    let relay = relay.build().unwrap().spawn();
    let drafts = ["bad-0", "bad-1"].map(|id| Draft::new("orders", "").id(id).key("bad"));
    enqueue(&store, &drafts).await;
    let error = relay
        .wait_until_empty(Duration::from_secs(5))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("1 halted keys"), "{error}");
    relay.stop();
    relay.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_whose_handle_is_dropped_drains() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let relay = relay_of(&store, &MemoryBroker::new());
    let mut health = relay.health();
    assert!(health.wait_until(|report| report.partitions == 16).await);
    drop(relay);
    health.wait_until(|report| report.stopped).await;
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert!(stats.partitions.iter().all(|p| p.owner.is_none()));
    assert_eq!(stats.instances, []);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_ended_empties_nothing() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let relay = relay_of(&store, &MemoryBroker::new());
    relay.stop();
    let mut health = relay.health();
    health.wait_until(|report| report.stopped).await;
    relay
        .wait_until_empty(Duration::from_secs(5))
        .await
        .unwrap();
    enqueue(&store, &[Draft::new("orders", "")]).await;
    let error = relay
        .wait_until_empty(Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
    relay.join().await.unwrap();
}

/// Is there at the start, and then unavailable until it was probed twice more; the first of these
/// probes panics.
#[derive(Debug, Clone)]
struct Shaky {
    broker: MemoryBroker,
    probes: Arc<AtomicU32>,
}

#[async_trait]
impl Publisher for Shaky {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        if self.probes.load(Ordering::Relaxed) > 2 {
            self.broker.publish(batch, outcomes).await;
            return;
        }
        for index in 0..batch.len() {
            outcomes.report(index, Err(PublishError::Unavailable("away".into())));
        }
    }

    async fn probe(&self) -> iobox_core::Result<Durability> {
        let before = self.probes.fetch_add(1, Ordering::Relaxed);
        assert!(before != 1, "a defect of the publisher");
        self.broker.probe().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_repeated() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let shaky = Shaky {
        broker: MemoryBroker::new(),
        probes: Arc::default(),
    };
    enqueue(&store, &[Draft::new("orders", "a")]).await;
    let relay = Relay::builder(store, shaky).build().unwrap().spawn();
    relay
        .wait_until_empty(Duration::from_secs(60))
        .await
        .unwrap();
    relay.drain().await.unwrap();
}

/// A relay looks at its outbox as soon as it starts, however long its pauses are.
#[tokio::test(start_paused = true)]
async fn a_relay_looks_at_once_when_it_starts() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let broker = MemoryBroker::new();
    enqueue(&store, &[Draft::new("orders", "a")]).await;
    let minute = Duration::from_secs(60);
    let started = tokio::time::Instant::now();
    let relay = Relay::builder(store, broker.clone())
        .poll(minute, minute)
        .build()
        .unwrap()
        .spawn();
    broker.wait_for(1).await;
    // By the paused clock, which jumps from timer to timer.
    assert!(started.elapsed() < Duration::from_secs(1));
    relay.drain().await.unwrap();
}

/// Panics at the message "bad" the first three times, after it has handed on those before.
#[derive(Debug, Clone)]
struct Panicky {
    broker: MemoryBroker,
    panics: Arc<AtomicU32>,
}

#[async_trait]
impl Publisher for Panicky {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let bad = batch.iter().any(|message| message.id().as_str() == "bad");
        if bad && self.panics.fetch_add(1, Ordering::Relaxed) < 3 {
            panic!("a defect of the publisher");
        }
        self.broker.publish(batch, outcomes).await;
    }

    async fn probe(&self) -> iobox_core::Result<Durability> {
        self.broker.probe().await
    }
}

/// A publisher that panics makes outcomes unknown, and nothing else: its messages go again.
#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_stops_nothing() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let panicky = Panicky {
        broker: MemoryBroker::new(),
        panics: Arc::default(),
    };
    let fine = (0..20).map(|n| Draft::new("t", "").id(n).key(n % 3));
    let all: Vec<_> = fine
        .chain([Draft::new("t", "").id("bad").key("0")])
        .collect();
    enqueue(&store, &all).await;
    let relay = Relay::builder(store.clone(), panicky.clone())
        .build()
        .unwrap()
        .spawn();
    relay
        .wait_until_empty(Duration::from_secs(600))
        .await
        .unwrap();
    relay.drain().await.unwrap();
    assert!(panicky.panics.load(Ordering::Relaxed) > 3);
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert_eq!((stats.dead, stats.pending), (0, 0));
    let ids: std::collections::BTreeSet<_> = panicky
        .broker
        .read(0, usize::MAX)
        .iter()
        .map(|one| one.message.id().to_string())
        .collect();
    assert_eq!(ids.len(), 21);
}

/// A broker on which a person has something to do first.
#[derive(Debug)]
struct Misfit;

#[async_trait]
impl Publisher for Misfit {
    async fn publish(&self, _: &[Message], _: &mut Outcomes) {}

    async fn probe(&self) -> iobox_core::Result<Durability> {
        Err(Error::invalid("make the stream first"))
    }
}

/// What is logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Nobody may wait for its end before the service does.
#[tokio::test]
async fn a_spawned_relay_that_cannot_run_says_so_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let listening = tracing::subscriber::set_default(subscriber);
    let relay = Relay::builder(MemoryStore::new(Partitions::DEFAULT), Misfit);
    let relay = relay.build().unwrap().spawn();
    let error = relay.join().await.expect_err("a stream is missing");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    drop(listening);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("the relay ended"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("ERROR") && line.contains("make the stream first"));
}
