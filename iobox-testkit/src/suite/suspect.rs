//! Suspects: messages whose execution was under way when their process died.

use std::time::Duration;

use iobox_core::store::{Settled, State};

use super::{
    Harness,
    support::{
        Instance, clear, dead, done, enqueue, keyed, partitions, plain, retry, states, suspect,
        unknown,
    },
};

/// A mark makes the row a suspect with the crashes it names, and leaves its state as it is.
pub async fn a_mark_makes_a_suspect<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, suspect(2)).await;
    let row = one.one().await;
    assert!(row.suspect);
    assert_eq!((row.crashes, row.attempt), (2, 0));
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// A mark on a retrying row leaves it retrying and due.
pub async fn a_mark_keeps_a_retrying_row_due<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, retry(Duration::ZERO)).await;
    one.apply(&one.one().await, suspect(0)).await;
    assert!(one.one().await.suspect);
    assert_eq!(states(harness.store().as_ref()).await, [State::Retrying]);
}

/// A suspect is still one after its owner died.
pub async fn a_suspect_survives_a_takeover<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b")]).await;
    one.apply(&one.fetch().await.pending[0], suspect(1)).await;
    let heir = Instance::heir(&harness).await;
    let rows = heir.fetch().await.pending;
    assert_eq!(rows.len(), 2);
    assert!(rows[0].suspect && !rows[1].suspect, "{rows:?}");
    assert_eq!((rows[0].crashes, rows[1].crashes), (1, 0));
}

/// Crashes are an absolute number: each mark records its own, none adds.
pub async fn crashes_are_absolute<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    for crashes in [1, 2, 3, 1, 0, 5] {
        let settlement = one.settlement(&one.one().await, suspect(crashes));
        assert_eq!(one.send(&settlement).await, Settled::Applied);
        assert_eq!(one.send(&settlement).await, Settled::Applied);
        assert_eq!(one.one().await.crashes, crashes);
    }
}

/// Crashes add up across deaths when each owner records one more.
pub async fn crashes_are_counted_across_deaths<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    for crashes in 1..=3 {
        let row = one.one().await;
        assert_eq!(row.crashes + 1, crashes);
        one.apply(&row, suspect(row.crashes + 1)).await;
        one = Instance::heir(&harness).await;
    }
    assert_eq!(one.one().await.crashes, 3);
}

/// A failure that is known clears the suspect and its crashes.
pub async fn a_retry_clears_a_suspect<H: Harness>() {
    for verdict in [retry(Duration::ZERO), unknown(Duration::ZERO, true)] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        enqueue(&harness, &[plain("a")]).await;
        one.apply(&one.one().await, suspect(2)).await;
        one.apply(&one.one().await, verdict).await;
        let row = one.one().await;
        assert!(!row.suspect, "an outcome clears the mark");
        assert_eq!(row.crashes, 0, "and the crashes");
    }
}

/// A message that is replayed after its end is no suspect, and has no crashes.
pub async fn a_closed_message_comes_back_without_suspicion<H: Harness>() {
    for verdict in [done(), dead(true)] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
        one.apply(&one.one().await, suspect(2)).await;
        one.apply(&one.one().await, verdict).await;
        super::support::replay_one(harness.store().as_ref(), &id).await;
        let row = one.one().await;
        assert!(!row.suspect);
        assert_eq!((row.crashes, row.attempt), (0, 0));
    }
}

/// Clearing takes the mark off and records the crashes it names.
pub async fn a_clear_takes_the_mark_off<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, suspect(3)).await;
    one.apply(&one.one().await, clear(2)).await;
    let row = one.one().await;
    assert!(!row.suspect);
    assert_eq!(row.crashes, 2);
    one.apply(&row, clear(0)).await;
    assert_eq!(one.one().await.crashes, 0);
}

/// A suspect that is set aside before it was executed again is still one when it is released.
pub async fn a_suspect_that_waited_is_still_one<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("k", "a")]).await;
    one.apply(&one.one().await, suspect(2)).await;
    one.set_aside(&one.fetch().await.pending).await;
    let row = one.sweep().await.pending.remove(0);
    assert!(row.suspect, "only a verdict or a clear takes the mark off");
    assert_eq!(row.crashes, 2);
}
