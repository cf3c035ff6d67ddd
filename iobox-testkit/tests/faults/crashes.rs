//! A relay that dies at each point of its way, and the one that follows it.

use std::{collections::BTreeMap, time::Duration};

use iobox_core::{
    Outbox, Relay,
    dispatch::RetryPolicy,
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Message},
    partition::Partitions,
    queue::Queue,
    relay::RelayHandle,
    store::{Admin, Filter, Selection, State},
};
use iobox_testkit::fault::{CrashPoint, Fault, Faults, UnreliableBroker};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGES: usize = 6;

fn relay(store: &MemoryStore, log: &MemoryBroker, faults: &Faults) -> RelayHandle {
    let (ms, cap) = (Duration::from_millis(1), Duration::from_millis(20));
    let broker = UnreliableBroker::of(log.clone(), faults);
    Relay::builder(faults.store(store.clone()), broker)
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .retry(RetryPolicy::new(ms, cap, 2).expect("a policy"))
        .time_to_live(Duration::from_secs(1))
        .build()
        .expect("a relay")
        .spawn()
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new(Partitions::new(1).expect("a count"));
    let mut tx = store.begin();
    let draft = |n| Draft::new("t", format!("{n}")).id(format!("m{n}"));
    let drafts: Vec<Draft> = (0..MESSAGES).map(draft).collect();
    let outbox = Outbox::new(store.clone());
    outbox
        .enqueue(&mut tx, drafts.as_slice())
        .await
        .expect("enqueue");
    tx.commit().expect("commit");
    store
}

/// Lets a relay die at `point`, and another one finish; returns how many copies of messages there were
/// at the death, and how many of each in the end.
async fn die_at(point: CrashPoint, script: &[Fault]) -> (usize, BTreeMap<String, usize>) {
    let (store, log, faults) = (filled().await, MemoryBroker::new(), Faults::none());
    faults.crash_at(point);
    let broken = script.to_vec();
    let dead = if broken.is_empty() {
        relay(&store, &log, &faults)
    } else {
        // The script is for messages alone: the calls of the store meet nothing.
        let broker = Faults::none();
        broken.into_iter().for_each(|fault| broker.then(fault));
        let (ms, cap) = (Duration::from_millis(1), Duration::from_millis(20));
        Relay::builder(faults.store(store.clone()), broker.publisher(log.clone()))
            .poll(Duration::from_millis(2), Duration::from_millis(20))
            .retry(RetryPolicy::new(ms, cap, 2).expect("a policy"))
            .time_to_live(Duration::from_secs(1))
            .build()
            .expect("a relay")
            .spawn()
    };
    let died = timeout(PATIENCE, faults.crashed()).await;
    assert!(died.is_ok(), "nobody reached {point:?}");
    assert_eq!(faults.counts().crashes, 1);
    let at_death = log.len();

    store.clock().advance(Duration::from_secs(60));
    faults.restart();
    let next = relay(&store, &log, &faults);
    next.wait_until_empty(PATIENCE)
        .await
        .expect("everything is sent");
    next.drain().await.expect("a drain");
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!((stats.unsettled(), stats.dead), (0, 0), "after {point:?}");
    let mut copies = BTreeMap::new();
    for one in log.read(0, 1_000) {
        *copies.entry(one.message.id().to_string()).or_default() += 1;
    }
    assert_eq!(copies.len(), MESSAGES, "nothing is lost after {point:?}");
    // Whatever the dead one still does has no effect.
    drop(dead);
    (at_death, copies)
}

async fn copies_after(point: CrashPoint, at_death: usize, twice: usize) {
    let (there, copies) = die_at(point, &[]).await;
    assert_eq!(there, at_death, "copies at {point:?}");
    let repeated = copies.values().filter(|count| **count == 2).count();
    assert_eq!(repeated, twice, "{copies:?} after {point:?}");
    assert!(copies.values().all(|count| *count <= 2), "{copies:?}");
}

#[tokio::test]
async fn granted() {
    copies_after(CrashPoint::Granted, 0, 0).await;
}

#[tokio::test]
async fn fetched() {
    copies_after(CrashPoint::Fetched, 0, 0).await;
}

#[tokio::test]
async fn half_sent() {
    copies_after(CrashPoint::HalfSent, MESSAGES / 2, MESSAGES / 2).await;
}

#[tokio::test]
async fn sent() {
    copies_after(CrashPoint::Sent, MESSAGES, MESSAGES).await;
}

#[tokio::test]
async fn acked() {
    copies_after(CrashPoint::Acked, MESSAGES, MESSAGES).await;
}

#[tokio::test]
async fn settled() {
    copies_after(CrashPoint::Settled, MESSAGES, 0).await;
}

#[tokio::test]
async fn renewing() {
    // The first renewal registers: nothing has happened.
    copies_after(CrashPoint::Renewing, 0, 0).await;
}

#[tokio::test]
async fn retrying() {
    let (there, copies) = die_at(CrashPoint::Retrying, &[Fault::After]).await;
    assert_eq!(there, MESSAGES);
    assert_eq!(copies.values().filter(|count| **count == 1).count(), 0);
}

/// A message that dies is not dead until that is recorded.
#[tokio::test]
async fn burying() {
    let store = MemoryStore::new(Partitions::new(1).expect("a count"));
    let mut tx = store.begin();
    let draft = Message::draft("t", "x").id("m");
    Outbox::new(store.clone())
        .enqueue(&mut tx, draft)
        .await
        .expect("enqueue");
    tx.commit().expect("commit");
    let faults = Faults::none();
    faults.crash_at(CrashPoint::Burying);
    let refusing = || {
        let relay = Relay::builder(faults.store(store.clone()), Refusing);
        relay.build().expect("a relay").spawn()
    };
    let dead = refusing();
    timeout(PATIENCE, faults.crashed()).await.expect("it dies");
    let count = |state| {
        let filter = Filter {
            states: vec![state],
            ..Filter::default()
        };
        let store = store.clone();
        async move {
            let listed = store.list(&Queue::Outbox, &filter, iobox_core::store::Page::default());
            listed.await.expect("a listing").len()
        }
    };
    assert_eq!(count(State::Dead).await, 0);
    store.clock().advance(Duration::from_secs(60));
    faults.restart();
    let next = refusing();
    next.wait_until_empty(PATIENCE).await.expect("it is buried");
    next.drain().await.expect("a drain");
    assert_eq!(count(State::Dead).await, 1);
    drop(dead);
}

/// A broker that never takes anything.
#[derive(Debug)]
struct Refusing;

#[async_trait::async_trait]
impl iobox_core::publisher::Publisher for Refusing {
    async fn publish(&self, batch: &[Message], outcomes: &mut iobox_core::publisher::Outcomes) {
        for index in 0..batch.len() {
            let reason = String::from("never");
            outcomes.report(
                index,
                Err(iobox_core::publisher::PublishError::Permanent(reason)),
            );
        }
    }

    async fn probe(&self) -> iobox_core::Result<iobox_core::publisher::Durability> {
        Ok(iobox_core::publisher::Durability::Volatile)
    }
}

/// A person whose program dies before the call is sent has changed nothing.
#[tokio::test]
async fn replaying_and_purging() {
    let (store, faults) = (filled().await, Faults::none());
    let all = Selection::Matching(Filter::default());
    let closed = store.discard(&Queue::Outbox, &all, false).await;
    assert_eq!(closed.expect("discard").count, MESSAGES as u64);
    store.clock().advance(Duration::from_secs(60));
    for point in [CrashPoint::Replaying, CrashPoint::Purging] {
        faults.restart();
        faults.crash_at(point);
        let program = faults.store(store.clone());
        let all = Selection::Matching(Filter {
            states: vec![State::Discarded],
            ..Filter::default()
        });
        let task = tokio::spawn(async move {
            let _ = program
                .replay(&Queue::Outbox, &all, point == CrashPoint::Purging)
                .await;
            let _ = program.purge(&Queue::Outbox, Duration::ZERO, 100).await;
        });
        timeout(PATIENCE, faults.crashed()).await.expect("it dies");
        let page = iobox_core::store::Page::default();
        let listed = store.list(&Queue::Outbox, &Filter::default(), page).await;
        let listed = listed.expect("a listing");
        let left = listed.iter().filter(|one| one.state == State::Discarded);
        assert_eq!(left.count(), MESSAGES, "{point:?}");
        task.abort();
    }
}

/// The points of a producer: before and behind the enqueue, and behind the COMMIT.
#[tokio::test]
async fn producing() {
    for (point, committed) in [
        (CrashPoint::Written, 0),
        (CrashPoint::Enqueued, 0),
        (CrashPoint::Committed, 1),
    ] {
        let store = MemoryStore::new(Partitions::DEFAULT);
        let faults = Faults::none();
        faults.crash_at(point);
        let (app, inner) = (faults.clone(), store.clone());
        let program = tokio::spawn(async move {
            let outbox = Outbox::new(app.store(inner.clone()));
            let mut tx = inner.begin();
            app.reach(CrashPoint::Written).await;
            let draft = Message::draft("t", "x");
            outbox.enqueue(&mut tx, draft).await.expect("enqueue");
            tx.commit().expect("commit");
            app.reach(CrashPoint::Committed).await;
        });
        timeout(PATIENCE, faults.crashed()).await.expect("it dies");
        program.abort();
        let stats = store.stats(&Queue::Outbox).await.expect("stats");
        assert_eq!(stats.pending, committed, "{point:?}");
    }
}

/// What a process does after its successor began has no effect.
#[tokio::test]
async fn the_dead_stay_dead() {
    let (store, faults) = (filled().await, Faults::none());
    let dead = faults.store(store.clone());
    faults.restart();
    let all = Selection::Matching(Filter::default());
    let discard = dead.discard(&Queue::Outbox, &all, false);
    let ended = timeout(Duration::from_millis(50), discard).await;
    assert!(ended.is_err(), "a dead process gets no answer");
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!(stats.pending, MESSAGES as u64);
}
