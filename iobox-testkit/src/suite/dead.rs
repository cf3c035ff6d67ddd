//! Dead letters: given up on, and kept until a person acts.

use std::time::Duration;

use iobox_core::{
    queue::Queue,
    store::{Admin, State},
};

use super::{
    Harness,
    support::{
        Instance, LATER, dead, dead_because, dead_in_doubt, done, enqueue, entry, keyed, labels,
        partitions, plain, purge, replay_one, unknown,
    },
};

/// A dead message is kept with its reason, its attempts, and the time of its death.
pub async fn a_dead_message_is_kept_with_its_reason<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    let mut settlement = one.settlement(&one.one().await, dead_because("no such account", true));
    settlement.attempt = 10;
    one.send(&settlement).await;
    let entry = entry(harness.store().as_ref(), &id).await;
    assert_eq!(entry.state, State::Dead);
    assert_eq!(entry.reason.as_deref(), Some("no such account"));
    assert_eq!(entry.attempt, 10);
    assert!(entry.settled_at >= Some(entry.enqueued_at), "{entry:?}");
    assert!(entry.halts);
}

/// Whether a dead message halts its key is kept with it.
pub async fn halting_is_kept_with_the_message<H: Harness>() {
    for halts in [true, false] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
        one.apply(&one.one().await, dead(halts)).await;
        assert_eq!(entry(harness.store().as_ref(), &id).await.halts, halts);
    }
}

/// A dead message without a key halts nothing, whatever the settlement says.
pub async fn a_dead_message_without_a_key_halts_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[plain("a")]).await.remove(0);
    one.apply(&one.one().await, dead(true)).await;
    assert!(!entry(harness.store().as_ref(), &id).await.halts);
    let stats = harness.store().stats(&Queue::Outbox).await.expect("stats");
    assert_eq!((stats.dead, stats.halted_keys), (1, 0));
    enqueue(&harness, &[plain("b")]).await;
    assert_eq!(labels(&one.fetch().await), ["b"]);
}

/// A dead message stays dead: no time, no takeover and no purge moves it.
pub async fn a_dead_message_stays_dead<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[keyed("k", "a"), plain("b")]).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    harness.advance(LATER * 1_000).await;
    let heir = Instance::heir(&harness).await;
    let fetched = heir.sweep().await;
    assert!(fetched.pending.is_empty() && fetched.aside.is_empty());
    assert_eq!(
        purge(harness.store().as_ref(), Duration::ZERO, 1_000).await,
        0
    );
    for id in ids {
        assert_eq!(
            entry(harness.store().as_ref(), &id).await.state,
            State::Dead
        );
    }
}

/// A message may die after an unknown outcome; it is then dead and uncertain.
pub async fn a_dead_message_may_be_uncertain<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    one.apply(&one.one().await, unknown(Duration::ZERO, true))
        .await;
    one.apply(&one.one().await, dead(true)).await;
    let entry = entry(harness.store().as_ref(), &id).await;
    assert!(entry.uncertain && entry.halts, "{entry:?}");
}

/// Who dies although an execution may have succeeded is uncertain, through a replay too.
pub async fn a_message_that_dies_in_doubt_is_uncertain_for_ever<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let store = harness.store().as_ref();
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    one.apply(&one.one().await, dead_in_doubt()).await;
    let dead = entry(store, &id).await;
    assert_eq!((dead.state, dead.halts), (State::Dead, true), "{dead:?}");
    assert!(dead.uncertain && dead.reason.is_some(), "{dead:?}");
    replay_one(store, &id).await;
    let row = one.one().await;
    assert!(row.uncertain && !row.suspect, "{row:?}");
    one.apply(&row, done()).await;
    assert!(entry(store, &id).await.uncertain, "it is history now");
}
