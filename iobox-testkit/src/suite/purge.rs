//! Purges: removing old messages that are closed.

use std::time::Duration;

use iobox_core::store::State;

use super::{
    Harness,
    replay::one_of_each,
    support::{Instance, discard_one, done, enqueue, entries, partitions, plain, purge, states},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A purge removes done and discarded messages, and never one that is not closed or is dead.
pub async fn only_closed_messages_are_purged<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (_one, _) = one_of_each(&harness).await;
    harness.advance(DAY * 400).await;
    let store = harness.store().as_ref();
    assert_eq!(purge(store, Duration::ZERO, 1_000).await, 2);
    assert_eq!(states(store).await, State::ALL[..4]);
    assert_eq!(purge(store, Duration::ZERO, 1_000).await, 0);
}

/// A purge of a store without messages removes nothing, and is no error.
pub async fn an_empty_store_has_nothing_to_purge<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    assert_eq!(purge(store, Duration::ZERO, 1_000).await, 0);
    assert!(entries(store).await.is_empty());
}

/// A message stays for its retention, counted from when it was settled, not from its enqueue.
pub async fn a_message_stays_for_its_retention<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[plain("a"), plain("b")]).await;
    harness.advance(DAY * 30).await;
    one.apply(&one.fetch().await.pending[0], done()).await;
    let store = harness.store().as_ref();
    discard_one(store, &ids[1]).await;
    harness.advance(DAY * 6).await;
    assert_eq!(purge(store, DAY * 7, 1_000).await, 0);
    harness.advance(DAY * 2).await;
    assert_eq!(purge(store, DAY * 7, 1_000).await, 2);
    assert!(entries(store).await.is_empty());
}

/// A purge removes at most as many as it is told to, those that were settled first.
pub async fn a_purge_is_bounded_and_takes_the_oldest_first<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..5).map(plain).collect();
    enqueue(&harness, &drafts).await;
    let rows = one.fetch().await.pending;
    // Settled in an order that is not the order of the seqs.
    let order = [3, 0, 4, 1, 2];
    for at in order {
        one.apply(&rows[at], done()).await;
        harness.advance(DAY).await;
    }
    harness.advance(DAY).await;
    let store = harness.store().as_ref();
    let mut left: Vec<_> = rows.iter().map(|row| row.seq).collect();
    for (limit, gone) in [(2, &order[..2]), (1, &order[2..3]), (10, &order[3..])] {
        let purged = purge(store, Duration::ZERO, limit).await;
        assert_eq!(purged, u64::try_from(gone.len()).expect("a small number"));
        left.retain(|seq| !gone.iter().any(|at| rows[*at].seq == *seq));
        let stored: Vec<_> = entries(store).await.iter().map(|entry| entry.seq).collect();
        assert_eq!(stored, left);
    }
}

/// A replayed message is not purged before it is settled again and old again.
pub async fn a_replayed_message_is_not_purged<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[plain("a")]).await.remove(0);
    one.apply(&one.one().await, done()).await;
    harness.advance(DAY * 10).await;
    let store = harness.store().as_ref();
    super::support::replay_one(store, &id).await;
    assert_eq!(purge(store, DAY, 10).await, 0, "it is pending");
    one.apply(&one.one().await, done()).await;
    assert_eq!(purge(store, DAY, 10).await, 0, "it was settled just now");
    harness.advance(DAY * 2).await;
    assert_eq!(purge(store, DAY, 10).await, 1);
}
