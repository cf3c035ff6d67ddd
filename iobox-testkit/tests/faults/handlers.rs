//! An inbox that dies at each point of its way, and the one that follows it.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Inbox, Router,
    handler::{HandlerError, TxHandler},
    inbox::{InboxHandle, SourceName},
    memory::{MemoryBroker, MemoryStore, MemoryTx},
    message::{Draft, Message},
    partition::Partitions,
    publisher::{Outcomes, Publisher},
    queue::Queue,
    store::{Admin, Body, Enqueue, Filter, Page},
};
use iobox_testkit::{
    broker::support::{TOPIC, labelled},
    fault::{CrashPoint, Faults, FaultyStore, UnreliableBroker},
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGES: usize = 10;

/// Enqueues a message for each that it handles, in the transaction of the mark: its effect.
struct Chain(MemoryStore);

#[async_trait]
impl TxHandler<MemoryTx> for Chain {
    async fn handle(&self, tx: &mut MemoryTx, message: &Message) -> Result<(), HandlerError> {
        let draft = Draft::new("effects", message.payload().clone());
        self.0.enqueue(tx, &[draft]).await?;
        Ok(())
    }
}

fn inbox(
    store: &MemoryStore,
    log: &MemoryBroker,
    faults: &Faults,
) -> InboxHandle<FaultyStore<MemoryStore>> {
    let mut router = Router::new();
    router.on_tx(TOPIC, "chain", Chain(store.clone()));
    let broker = UnreliableBroker::of(log.clone(), faults);
    let inbox = Inbox::builder(faults.store(store.clone()), router)
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .source(broker.source(SourceName::new("log").expect("a name")))
        .build();
    inbox.expect("an inbox").spawn()
}

/// The effects that are committed, and how many different ones.
async fn effects(store: &MemoryStore) -> (usize, usize) {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let all = store.list(&Queue::Outbox, &Filter::default(), page).await;
    let all = all.expect("a listing");
    let mut different = BTreeSet::new();
    for entry in &all {
        let id = iobox_core::message::MessageId::new(&entry.id).expect("an id");
        let whole = store.get(&Queue::Outbox, &id).await.expect("an entry");
        if let Some(Body::Message(message)) = whole.and_then(|entry| entry.body) {
            different.insert(message.payload().to_vec());
        }
    }
    (all.len(), different.len())
}

async fn log() -> MemoryBroker {
    let log = MemoryBroker::new();
    let messages: Vec<Message> = (0..MESSAGES).map(labelled).collect();
    let mut outcomes = Outcomes::new(MESSAGES, |_, outcome| {
        outcome.expect("it is taken");
    });
    log.publish(&messages, &mut outcomes).await;
    log
}

/// Waits until there are so many effects.
async fn finished(store: &MemoryStore) {
    let all = async {
        while effects(store).await.1 < MESSAGES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("all are handled");
}

/// Lets an inbox die at `point`, and another one finish; returns how many effects there were at the
/// death.
async fn die_at(point: CrashPoint) -> usize {
    let store = MemoryStore::new(Partitions::new(1).expect("a count"));
    let (log, faults) = (log().await, Faults::none());
    faults.crash_at(point);
    let dead = inbox(&store, &log, &faults);
    let died = timeout(PATIENCE, faults.crashed()).await;
    assert!(died.is_ok(), "nobody reached {point:?}");
    let (at_death, _) = effects(&store).await;
    dead.kill();

    store.clock().advance(Duration::from_secs(60));
    faults.restart();
    let next = inbox(&store, &log, &faults);
    finished(&store).await;
    next.wait_until_empty(PATIENCE)
        .await
        .expect("nothing is left");
    next.drain().await.expect("a drain");
    assert_eq!(
        effects(&store).await,
        (MESSAGES, MESSAGES),
        "after {point:?}"
    );
    at_death
}

#[tokio::test]
async fn received() {
    assert_eq!(die_at(CrashPoint::Received).await, 0);
}

#[tokio::test]
async fn stored() {
    assert!(die_at(CrashPoint::Stored).await <= MESSAGES);
}

#[tokio::test]
async fn ack_sent() {
    assert!(die_at(CrashPoint::AckSent).await <= MESSAGES);
}

#[tokio::test]
async fn handled() {
    assert_eq!(die_at(CrashPoint::Handled).await, 0);
}

#[tokio::test]
async fn handling_committed() {
    let there = die_at(CrashPoint::HandlingCommitted).await;
    assert!((1..MESSAGES).contains(&there), "{there} effects");
}

/// An inbox whose every call, statement, COMMIT, delivery and ack may go wrong has each effect once.
#[tokio::test]
async fn every_fault_at_once() {
    for seed in 0..10 {
        let store = MemoryStore::new(Partitions::new(1).expect("a count"));
        let faults = Faults::seeded(seed)
            .before(0.1)
            .after(0.1)
            .twice(0.1)
            .reorder(0.1)
            .delay(0.1, Duration::from_millis(2))
            .at_most(200);
        let log = log().await;
        let inbox = inbox(&store, &log, &faults);
        finished(&store).await;
        inbox
            .wait_until_empty(PATIENCE)
            .await
            .expect("nothing is left");
        inbox.drain().await.expect("a drain");
        assert_eq!(effects(&store).await, (MESSAGES, MESSAGES), "seed {seed}");
        let counts = faults.counts();
        assert!(counts.before + counts.after > 0, "seed {seed}: {counts:?}");
    }
}
