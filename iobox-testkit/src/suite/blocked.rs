//! Blocked rows: behind an earlier one of their key that retries, waits, or is dead and halts.

use std::time::Duration;

use iobox_core::{
    partition::Partition,
    store::{Change, FetchRequest, State},
};

use super::{
    Harness,
    support::{
        Instance, LATER, aside_count, dead, done, enqueue, entries, key, keyed, label, labels,
        partitions, plain, retry, run_of, states, unknown,
    },
};

/// Behind a message that will be retried, the others of its key are set aside, and nothing runs,
/// also while the first is not yet due.
pub async fn followers_of_a_retrying_head_are_set_aside<H: Harness>() {
    followers_are_set_aside::<H>(retry(LATER)).await;
}

/// Behind a message whose outcome is unknown, the others of its key are set aside.
pub async fn followers_of_an_unknown_outcome_are_set_aside<H: Harness>() {
    followers_are_set_aside::<H>(unknown(LATER, false)).await;
}

/// Behind a message that is set aside itself, the others of its key are set aside.
pub async fn followers_of_a_waiting_head_are_set_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 1)).await;
    one.set_aside(&one.fetch().await.pending).await;
    enqueue(&harness, &run_of("k", 3)).await;
    enqueue(&harness, &[plain("free")]).await;
    let rows = entries(harness.store().as_ref()).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["free"]);
    assert_eq!(
        (fetched.aside[0].first, aside_count(&fetched)),
        (rows[1].seq, 3)
    );
}

/// Behind a dead message that halts, the others of its key are set aside.
pub async fn followers_of_a_halting_head_are_set_aside<H: Harness>() {
    followers_are_set_aside::<H>(dead(true)).await;
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

/// A message that is retried and due runs itself, while its followers are set aside.
pub async fn a_due_head_runs_and_its_followers_do_not<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[0], retry(Duration::ZERO))
        .await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(aside_count(&fetched), 2);
}

/// Only rows with a higher seq are blocked; an earlier message of the key runs.
pub async fn an_earlier_message_is_not_blocked<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[1], retry(LATER)).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["0"]);
    assert_eq!(aside_count(&fetched), 1);
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
    assert_eq!(aside_count(&fetched), 1);
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
    assert_eq!(aside_count(&fetched), 1);
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

/// A fetch that finds a row of a key in the way sets aside all rows of the key that are due, also those
/// that its limit would not reach, and says how many.
pub async fn a_fetch_sets_aside_all_of_a_key_that_it_names<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 600)).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], retry(LATER)).await;
    let fetched = one.fetch_each(|part| part.limit = 10).await;
    let [aside] = fetched.aside.as_slice() else {
        panic!("one key was set aside: {:?}", fetched.aside);
    };
    assert_eq!((&aside.key, aside.first), (&key("k"), rows[1].seq));
    assert_eq!(aside.count, 599);
    let mut expected = vec![State::Waiting; 600];
    expected[0] = State::Retrying;
    assert_eq!(states(harness.store().as_ref()).await, expected);
}

/// Rows that the caller holds stay as they are, and so do those in front of what blocks the others.
pub async fn rows_that_are_held_are_not_set_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 5)).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[1], retry(LATER)).await;
    let held = rows[3].seq;
    let fetched = one.fetch_each(|part| part.held = vec![held]).await;
    assert_eq!(labels(&fetched), ["0"]);
    let expected = [
        State::Pending,
        State::Retrying,
        State::Waiting,
        State::Pending,
        State::Waiting,
    ];
    assert_eq!(states(harness.store().as_ref()).await, expected);
}

/// Rows behind blocked ones come after a few fetches.
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
        assert!(aside_count(&fetched) > 0, "each fetch makes room");
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
    assert_eq!(aside_count(&fetched), 2);
}

/// A fetch that asks for no rows gets none, sets aside what is in the way, and tells that there is
/// more.
pub async fn a_fetch_of_nothing_sets_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    enqueue(&harness, &run_of("full", 3)).await;
    one.apply(&one.fetch().await.pending[1], retry(LATER)).await;
    let of_nothing = |request: &mut FetchRequest| {
        (request.limit, request.bytes) = (0, 0);
        request.partitions[0].limit = 3;
        request.partitions[0].full = vec![key("full")];
    };
    let fetched = one.fetch_with(of_nothing).await;
    assert!(fetched.pending.is_empty(), "{:?}", labels(&fetched));
    assert_eq!(aside_count(&fetched), 4, "{:?}", fetched.aside);
    assert_eq!(fetched.more, [Partition::new(0)]);
    assert_eq!(labels(&one.fetch().await), ["0"]);
    let again = one.fetch_with(of_nothing).await;
    assert!(again.pending.is_empty() && again.aside.is_empty());
    assert_eq!(again.more, [Partition::new(0)]);
}

/// Applies `change` to the first of four messages of a key; the rest must be set aside.
async fn followers_are_set_aside<H: Harness>(change: Change) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 4)).await;
    enqueue(&harness, &[plain("free")]).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], change).await;
    assert_eq!(label(&rows[1]), "1", "it was ready before");
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["free"]);
    assert_eq!(fetched.aside.len(), 1, "{:?}", fetched.aside);
    assert_eq!(fetched.aside[0].first, rows[1].seq);
    assert_eq!(aside_count(&fetched), 3);
    let again = one.fetch().await;
    assert_eq!(labels(&again), ["free"]);
    assert!(again.aside.is_empty(), "{:?}", again.aside);
    let states = states(harness.store().as_ref()).await;
    assert_eq!(states[1..4], [State::Waiting; 3]);
}
