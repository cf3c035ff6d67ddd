//! Faults of the calls of a store.

use std::time::{Duration, Instant};

use iobox_core::{
    ErrorKind,
    memory::MemoryStore,
    partition::Partitions,
    queue::Queue,
    store::{AcquireRequest, Acquired, Admin, Epoch, InstanceId, RenewRequest, Renewed, Store},
};
use iobox_testkit::fault::{Fault, Faults};
use uuid::Uuid;

const INSTANCE: InstanceId = InstanceId::new(Uuid::from_u128(7));

fn store() -> MemoryStore {
    MemoryStore::new(Partitions::new(4).expect("a count"))
}

fn renewal() -> RenewRequest {
    RenewRequest {
        queue: Queue::Outbox,
        instance: INSTANCE,
        ttl: Duration::from_secs(60),
        register: true,
        in_flight: 0,
    }
}

async fn instances(store: &MemoryStore) -> usize {
    let stats = store.stats(&Queue::Outbox).await;
    stats.expect("stats").instances.len()
}

#[tokio::test]
async fn a_call_that_fails_before_changes_nothing() {
    let (store, faults) = (store(), Faults::none());
    faults.then(Fault::Before);
    let error = faults.store(store.clone()).renew(&renewal()).await;
    assert_eq!(error.expect_err("a fault").kind(), ErrorKind::Unavailable);
    assert_eq!(instances(&store).await, 0);
    assert_eq!(faults.counts().before, 1);
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_took_effect() {
    let (store, faults) = (store(), Faults::none());
    faults.then(Fault::After);
    let error = faults.store(store.clone()).renew(&renewal()).await;
    assert_eq!(error.expect_err("a fault").kind(), ErrorKind::Unavailable);
    assert_eq!(instances(&store).await, 1);
}

#[tokio::test]
async fn a_call_that_arrives_twice_is_answered_the_second_time() {
    let (store, faults) = (store(), Faults::none());
    let faulty = faults.store(store.clone());
    assert_eq!(faulty.renew(&renewal()).await.ok(), Some(Renewed::Alive));
    faults.then(Fault::Twice);
    let request = AcquireRequest {
        queue: Queue::Outbox,
        instance: INSTANCE,
        held: Vec::new(),
    };
    let acquired = faulty.acquire(&request).await.expect("acquire");
    let Acquired::Share { granted, .. } = acquired else {
        panic!("{acquired:?}");
    };
    assert_eq!(granted.len(), 4);
    let again = |grant: &iobox_core::store::Grant| grant.epoch == Epoch(2) && grant.abandoned;
    assert!(granted.iter().all(again), "{granted:?}");
}

#[tokio::test]
async fn a_call_that_is_delayed_happens_later() {
    let (store, faults) = (store(), Faults::none());
    let by = Duration::from_millis(50);
    faults.then(Fault::Delay(by));
    let start = Instant::now();
    let renewed = faults.store(store.clone()).renew(&renewal()).await;
    assert_eq!(renewed.ok(), Some(Renewed::Alive));
    assert!(start.elapsed() >= by);
}

#[tokio::test]
async fn nothing_gets_through_a_line_that_is_cut() {
    let (store, faults) = (store(), Faults::none());
    let faulty = faults.store(store.clone());
    faults.cut();
    for _ in 0..3 {
        assert!(faulty.renew(&renewal()).await.is_err());
    }
    assert_eq!((instances(&store).await, faults.counts().cut), (0, 3));
    faults.mend();
    assert_eq!(faulty.renew(&renewal()).await.ok(), Some(Renewed::Alive));
}

#[tokio::test]
async fn a_script_goes_before_chance_and_may_hold_nothing() {
    let (store, faults) = (store(), Faults::seeded(1).before(1.0));
    let faulty = faults.store(store);
    faults.then(None);
    assert!(faulty.renew(&renewal()).await.is_ok());
    assert!(faulty.renew(&renewal()).await.is_err());
}

#[tokio::test]
async fn chance_is_bounded_and_repeatable() {
    let mut runs = Vec::new();
    for seed in [3, 3, 4] {
        let faults = Faults::seeded(seed).before(0.2).after(0.2).twice(0.2);
        let faulty = faults.clone().at_most(20);
        let faulty = faulty.store(store());
        let mut ended = String::new();
        for _ in 0..200 {
            let ok = faulty.renew(&renewal()).await.is_ok();
            ended.push(if ok { '.' } else { 'x' });
        }
        let counts = faults.counts();
        assert_eq!(counts.before + counts.after + counts.twice, 20);
        runs.push((ended, counts));
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
