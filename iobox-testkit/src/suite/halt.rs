//! Halted keys: what a dead message does to the rest of its key, and what frees it.

use iobox_core::{
    queue::Queue,
    store::{Admin, Store},
};

use super::{
    Harness,
    support::{
        Instance, aside_count, dead, discard_one, done, enqueue, key, keyed, labels, partitions,
        replay_one, run_of,
    },
};

/// Messages that are enqueued after the halt of their key wait like those before it.
pub async fn messages_enqueued_after_a_halt_wait_too<H: Harness>() {
    let (harness, one, _) = halted::<H>().await;
    enqueue(&harness, &[keyed("k", "later")]).await;
    let fetched = one.fetch().await;
    assert!(fetched.pending.is_empty());
    assert_eq!(aside_count(&fetched), 2, "the follower and the new one");
}

/// A halt outlives its owner.
pub async fn a_halt_survives_a_takeover<H: Harness>() {
    let (harness, _one, _) = halted::<H>().await;
    let heir = Instance::heir(&harness).await;
    let fetched = heir.sweep().await;
    assert!(fetched.pending.is_empty(), "{:?}", labels(&fetched));
    assert_eq!(aside_count(&fetched), 1);
}

/// Two dead messages halt their key until both are gone.
pub async fn a_key_is_halted_until_its_last_dead_message_is_gone<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &run_of("k", 3)).await;
    let rows = one.fetch().await.pending;
    one.apply_all(&rows[..2], &dead(true)).await;
    one.fetch().await;
    assert_eq!(halted_keys(harness.store().as_ref()).await, 1);
    for id in &ids[..2] {
        assert!(one.sweep().await.pending.is_empty());
        discard_one(harness.store().as_ref(), id).await;
    }
    assert_eq!(labels(&one.sweep().await), ["2"]);
    assert_eq!(halted_keys(harness.store().as_ref()).await, 0);
}

/// A replay frees the key: the dead message comes first, the others behind it.
pub async fn a_replay_frees_the_key<H: Harness>() {
    let (harness, one, head) = halted::<H>().await;
    one.fetch().await;
    replay_one(harness.store().as_ref(), &head).await;
    assert_eq!(labels(&one.sweep().await), ["0", "1"]);
    assert_eq!(halted_keys(harness.store().as_ref()).await, 0);
}

/// A discard frees the key for the others.
pub async fn a_discard_frees_the_key<H: Harness>() {
    let (harness, one, head) = halted::<H>().await;
    one.fetch().await;
    discard_one(harness.store().as_ref(), &head).await;
    assert_eq!(labels(&one.sweep().await), ["1"]);
    assert_eq!(halted_keys(harness.store().as_ref()).await, 0);
}

/// Followers that were never set aside run as soon as the halt is gone, without a release.
pub async fn followers_that_never_waited_need_no_release<H: Harness>() {
    let (harness, one, head) = halted::<H>().await;
    discard_one(harness.store().as_ref(), &head).await;
    assert_eq!(labels(&one.fetch().await), ["1"]);
}

/// A message that dies again after a replay halts its key again.
pub async fn a_second_death_halts_again<H: Harness>() {
    let (harness, one, head) = halted::<H>().await;
    replay_one(harness.store().as_ref(), &head).await;
    let rows = one.fetch().await.pending;
    assert_eq!(rows.len(), 2);
    one.apply(&rows[0], dead(true)).await;
    let fetched = one.fetch().await;
    assert!(fetched.pending.is_empty());
    assert_eq!(aside_count(&fetched), 1);
}

/// A dead message halts only what comes after it: an earlier one of its key runs and ends nothing.
pub async fn a_halt_reaches_only_forward<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[1], dead(true)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(aside_count(&fetched), 1);
    one.apply(&fetched.pending[0], done()).await;
    let fetched = one.release_key(&key("k")).await;
    assert!(fetched.pending.is_empty(), "the one behind is still halted");
    assert!(fetched.released.is_empty(), "{:?}", fetched.released);
}

/// A store with two messages of a key of which the first, `0`, is dead and halts.
async fn halted<H: Harness>() -> (H, Instance<H::Store>, iobox_core::message::MessageId) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut ids = enqueue(&harness, &run_of("k", 2)).await;
    one.apply(&one.fetch().await.pending[0], dead(true)).await;
    (harness, one, ids.remove(0))
}

async fn halted_keys<S: Store + Admin>(store: &S) -> u64 {
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    stats.halted_keys
}
