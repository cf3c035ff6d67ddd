//! Blocked rows: behind an earlier one of their key that retries, waits, or is dead and halts.

use std::time::Duration;

use iobox_core::{
    partition::Partition,
    store::{Change, State},
};

use super::{
    Harness,
    support::{
        Instance, LATER, WAIT, aside_seqs, dead, done, enqueue, key, keyed, label, labels,
        partitions, plain, retry, run_of, states, unknown,
    },
};

/// Behind a message that will be retried, the others of its key come as aside, and nothing runs,
/// also while the first is not yet due.
pub async fn followers_of_a_retrying_head_are_aside<H: Harness>() {
    followers_are_aside::<H>(retry(LATER)).await;
}

/// Behind a message whose outcome is unknown, the others of its key come as aside.
pub async fn followers_of_an_unknown_outcome_are_aside<H: Harness>() {
    followers_are_aside::<H>(unknown(LATER, false)).await;
}

/// Behind a message that is set aside itself, the others of its key come as aside.
pub async fn followers_of_a_waiting_head_are_aside<H: Harness>() {
    followers_are_aside::<H>(WAIT).await;
}

/// Behind a dead message that halts, the others of its key come as aside.
pub async fn followers_of_a_halting_head_are_aside<H: Harness>() {
    followers_are_aside::<H>(dead(true)).await;
}

/// Behind a dead message that does not halt, the others of its key run.
pub async fn followers_of_a_skipped_head_run<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[0], dead(false)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["1", "2"]);
    assert!(fetched.aside.is_empty());
}

/// Behind a message that is done, the others of its key run.
pub async fn followers_of_a_done_head_run<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[0], done()).await;
    assert_eq!(labels(&one.fetch().await), ["1", "2"]);
}

/// A message that is retried and due runs itself, while its followers stay aside.
pub async fn a_due_head_runs_and_its_followers_do_not<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[0], retry(Duration::ZERO))
        .await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(fetched.aside.len(), 2);
}

/// Only rows with a higher seq are blocked; an earlier message of the key runs.
pub async fn an_earlier_message_is_not_blocked<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[1], retry(LATER)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(fetched.aside.len(), 1);
}

/// A retrying message is blocked itself when an earlier one of its key retries, waits or halts.
pub async fn a_due_retry_is_blocked_like_any_other<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 2)).await;
    let rows = one.fetch().await.pending;
    one.apply_all(&rows, &retry(Duration::ZERO)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(aside_seqs(&fetched), [rows[1].seq.0]);
    one.set_aside(&fetched.aside).await;
    assert_eq!(
        states(harness.store().as_ref()).await,
        [State::Retrying, State::Waiting]
    );
}

/// Other keys, and messages without a key, are not blocked.
pub async fn other_keys_are_not_blocked<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("k", "head")]).await;
    one.apply(&one.one().await, dead(true)).await;
    enqueue(
        &harness,
        &[
            keyed("k", "blocked"),
            keyed("K", "a"),
            keyed("k ", "b"),
            plain("c"),
        ],
    )
    .await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["a", "b", "c"]);
    assert_eq!(fetched.aside.len(), 1);
}

/// A message without a key blocks nothing, whatever becomes of it.
pub async fn a_message_without_a_key_blocks_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], dead(true)).await;
    one.apply(&rows[1], retry(LATER)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["c"]);
    assert!(fetched.aside.is_empty());
}

/// A row that comes as aside tells its key, its attempts and the revision to settle it with.
pub async fn an_aside_row_can_be_settled<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 2)).await;
    let rows = one.fetch().await.pending;
    let mut second = one.settlement(&rows[1], retry(Duration::ZERO));
    second.attempt = 3;
    let first = one.settlement(&rows[0], retry(LATER));
    one.send_all(&[first, second]).await;
    let aside = one.fetch().await.aside;
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].key, key("k"));
    assert_eq!(aside[0].attempt, 3);
    assert_eq!(aside[0].revision, rows[1].revision.next());
    one.set_aside(&aside).await;
}

/// A fetch returns at most as many aside rows of a partition as its limit, says that there is more,
/// and setting them aside brings the rows behind them.
pub async fn blocked_rows_hide_the_rest_only_for_a_while<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 41)).await;
    enqueue(&harness, &[keyed("other", "x")]).await;
    one.apply(&one.fetch().await.pending[0], retry(LATER)).await;
    for _ in 0..=10 {
        let fetched = one.fetch_each(|part| part.limit = 4).await;
        if labels(&fetched) == ["x"] {
            return;
        }
        assert!(fetched.pending.is_empty(), "{:?}", labels(&fetched));
        assert_eq!(fetched.more, [Partition::new(0)], "there is a row behind");
        let count = fetched.aside.len();
        assert!((1..=4).contains(&count), "{count} rows are aside");
        one.set_aside(&fetched.aside).await;
    }
    panic!("a row behind 40 blocked ones was not found in 11 rounds of 4");
}

/// Blocked rows do not take the room of rows that may run.
pub async fn blocked_rows_take_no_room<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    enqueue(&harness, &[plain("x"), plain("y")]).await;
    one.apply(&one.fetch().await.pending[0], retry(LATER)).await;
    let fetched = one
        .fetch_with(|request| {
            request.limit = 2;
            request.partitions[0].limit = 2;
        })
        .await;
    assert_eq!(labels(&fetched), ["x", "y"]);
    assert_eq!(fetched.aside.len(), 2);
}

/// Applies `change` to the first of four messages of a key; the rest must come as aside, in every
/// fetch, until it is settled.
async fn followers_are_aside<H: Harness>(change: Change) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 4)).await;
    enqueue(&harness, &[plain("free")]).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], change).await;
    for _ in 0..2 {
        let fetched = one.fetch().await;
        assert_eq!(labels(&fetched), ["free"]);
        let followers: Vec<i64> = rows[1..4].iter().map(|row| row.seq.0).collect();
        assert_eq!(aside_seqs(&fetched), followers);
    }
    assert_eq!(label(&rows[1]), "1", "it was ready before");
}
