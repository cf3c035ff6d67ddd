//! Statistics: counts that reconcile with the messages.

use std::time::Duration;

use iobox_core::{
    queue::Queue,
    store::{Admin, State, Stats},
};

use super::{
    Harness,
    replay::one_of_each,
    support::{
        Instance, TTL, dead, done, enqueue, keyed, partitions, plain, retry, run_of, states,
    },
};

/// An empty store counts nothing, and has all its partitions.
pub async fn an_empty_store_counts_nothing<H: Harness>() {
    let harness = H::fresh(partitions(8)).await;
    let stats = stats(&harness).await;
    assert_eq!(counts(&stats), [0; 4]);
    assert_eq!((stats.halted_keys, stats.oldest_pending_age), (0, None));
    assert!(stats.instances.is_empty());
    let numbers: Vec<u8> = stats
        .partitions
        .iter()
        .map(|p| p.partition.number())
        .collect();
    assert_eq!(numbers, (0..8).collect::<Vec<u8>>());
    assert!(stats.partitions.iter().all(|p| p.owner.is_none()));
}

/// Each state is counted, and the counts are those of a listing.
pub async fn counts_reconcile_with_the_listing<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let (one, _) = one_of_each(&harness).await;
    enqueue(&harness, &[keyed("x", 0), keyed("x", 1), plain(2)]).await;
    enqueue(&harness, &run_of("y", 3)).await;
    let mut rows = one.fetch().await.pending;
    rows.sort_by_key(|row| row.seq);
    one.apply(&rows[1], dead(true)).await;
    one.apply(&rows[3], done()).await;
    let stats = stats(&harness).await;
    let states = states(harness.store().as_ref()).await;
    let count = |state| states.iter().filter(|one| **one == state).count() as u64;
    let listed = [State::Pending, State::Retrying, State::Waiting, State::Dead].map(count);
    assert_eq!(counts(&stats), listed);
    assert_eq!(listed, [5, 1, 1, 2]);
    assert_eq!(states.len(), 12);
}

/// Halted keys are counted once each, however many of their messages are dead.
pub async fn halted_keys_are_counted_once<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    enqueue(&harness, &run_of("l", 1)).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    enqueue(&harness, &run_of("m", 1)).await;
    one.apply_all(&one.fetch().await.pending, &dead(false))
        .await;
    let stats = stats(&harness).await;
    assert_eq!((stats.dead, stats.halted_keys), (6, 2));
}

/// The oldest age is that of the oldest message that is not settled, by the store's clock.
pub async fn the_oldest_age_is_of_what_is_not_settled<H: Harness>() {
    let minute = Duration::from_secs(60);
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    let mut rows = Vec::new();
    for label in ["done", "dead", "retries", "pending"] {
        enqueue(&harness, &[plain(label)]).await;
        rows.extend(
            one.fetch_each(|part| part.held = rows_of(&rows))
                .await
                .pending,
        );
        harness.advance(minute).await;
    }
    let within = |age: Option<Duration>, minutes: u32| {
        age.is_some_and(|age| (minute * minutes..minute * (minutes + 1)).contains(&age))
    };
    let changes = [done(), dead(true), retry(minute * 100), done()];
    for (row, (change, left)) in rows.iter().zip(changes.into_iter().zip([3, 2, 2])) {
        one.apply(row, change).await;
        let age = stats(&harness).await.oldest_pending_age;
        assert!(within(age, left), "{age:?} is not {left} minutes");
    }
}

/// Each partition tells its owner and its epoch.
pub async fn partitions_tell_their_owners<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    let mut two = Instance::register(harness.store()).await;
    one.acquire().await;
    two.acquire().await;
    let given: Vec<_> = two.held.keys().copied().take(1).collect();
    two.release(&given).await;
    for stated in stats(&harness).await.partitions {
        let owner = [&one, &two]
            .into_iter()
            .find(|instance| instance.held.contains_key(&stated.partition));
        assert_eq!(stated.owner, owner.map(|instance| instance.id));
        if let Some(owner) = owner {
            assert_eq!(stated.epoch, owner.epoch(stated.partition));
        }
    }
}

/// Each live instance tells what it has in flight, how long it has been there, and how long it still
/// lives; the oldest stands first.
pub async fn instances_tell_their_lives<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::register(harness.store()).await;
    harness.advance(TTL / 2).await;
    let mut two = Instance::register(harness.store()).await;
    one.renewal_with(false, 17).await;
    let listed = stats(&harness).await.instances;
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].instance, listed[1].instance), (one.id, two.id));
    assert_eq!((listed[0].in_flight, listed[1].in_flight), (17, 0));
    assert!(
        listed[0].age >= TTL / 2,
        "a renewal does not make it younger"
    );
    assert!(listed[1].age < TTL / 2);
    for instance in &listed {
        let left = instance.expires_in;
        assert!(left > TTL / 2 && left <= TTL, "{left:?} after a renewal");
    }
    two.leave().await;
    assert_eq!(stats(&harness).await.instances.len(), 1);
}

/// Instances are listed from the oldest to the youngest.
pub async fn instances_are_listed_by_age<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut registered = Vec::new();
    for _ in 0..8 {
        registered.push(Instance::register(harness.store()).await.id);
        harness.advance(Duration::from_secs(1)).await;
    }
    let listed = stats(&harness).await.instances;
    let listed: Vec<_> = listed.iter().map(|one| one.instance).collect();
    assert_eq!(listed, registered);
}

fn rows_of(rows: &[iobox_core::store::Pending]) -> Vec<iobox_core::store::Seq> {
    rows.iter().map(|row| row.seq).collect()
}

fn counts(stats: &Stats) -> [u64; 4] {
    [stats.pending, stats.retrying, stats.waiting, stats.dead]
}

async fn stats<H: Harness>(harness: &H) -> Stats {
    harness.store().stats(&Queue::Outbox).await.expect("stats")
}
