//! Waiting: setting followers aside and releasing them again, in order.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    message::MessageId,
    partition::Partition,
    store::{Fetched, Settled, State, Store},
};
use tokio::sync::Barrier;

use super::{
    Harness,
    support::{
        Instance, LATER, aside_count, dead, discard_one, done, enqueue, key, keyed, labels,
        partitions, plain, replay_one, retry, run_of, states,
    },
};

/// The most waiting rows of a key that one fetch releases.
const ROUND: usize = 256;

/// A row that is set aside is not fetched until it is released.
pub async fn a_waiting_row_is_not_fetched<H: Harness>() {
    let (harness, one, _) = halted::<H>(3, retry(LATER)).await;
    let fetched = one.fetch().await;
    assert!(
        fetched.pending.is_empty() && fetched.aside.is_empty(),
        "{fetched:?}"
    );
    let mut expected = vec![State::Waiting; 4];
    expected[0] = State::Retrying;
    assert_eq!(states(harness.store().as_ref()).await, expected);
}

/// A release frees nothing while the head of the key is retrying, due or not.
pub async fn nothing_is_released_behind_a_retrying_head<H: Harness>() {
    let (harness, one, _) = halted::<H>(3, retry(LATER)).await;
    let released = one.release_key(&key("k")).await;
    assert!(released.released.is_empty() && released.pending.is_empty());
    harness.advance(LATER * 2).await;
    let swept = one.sweep().await;
    assert!(swept.released.is_empty(), "{:?}", swept.released);
    assert_eq!(labels(&swept), ["head"]);
}

/// A release frees nothing while the head of the key is dead and halts.
pub async fn nothing_is_released_behind_a_halting_head<H: Harness>() {
    let (_harness, one, _) = halted::<H>(3, dead(true)).await;
    for fetched in [one.release_key(&key("k")).await, one.sweep().await] {
        assert!(fetched.released.is_empty(), "{:?}", fetched.released);
        assert!(fetched.pending.is_empty() && fetched.aside.is_empty());
    }
}

/// After their head is done, 600 followers come back in order, 256 a round.
pub async fn followers_come_back_after_the_head_is_done<H: Harness>() {
    let (harness, one, _) = halted::<H>(600, retry(LATER)).await;
    harness.advance(LATER * 2).await;
    let head = one.one().await;
    one.apply(&head, done()).await;
    let order = drain_by_release(&one).await;
    assert_eq!(order, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// After their head is discarded, 600 followers come back in order, 256 a round.
pub async fn followers_come_back_after_the_head_is_discarded<H: Harness>() {
    let (harness, one, head) = halted::<H>(600, dead(true)).await;
    discard_one(harness.store().as_ref(), &head).await;
    let order = drain_by_sweep(&one).await;
    assert_eq!(order, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// After their head is replayed, it comes first, and 600 followers in order behind it.
pub async fn followers_come_back_after_the_head_is_replayed<H: Harness>() {
    let (harness, one, head) = halted::<H>(600, dead(true)).await;
    replay_one(harness.store().as_ref(), &head).await;
    let order = drain_by_sweep(&one).await;
    let mut expected = vec!["head".to_owned()];
    expected.extend((0..600).map(|n| n.to_string()));
    assert_eq!(order, expected);
}

/// A fetch that releases names the keys it released, and returns their rows at once.
pub async fn a_release_names_its_keys<H: Harness>() {
    let (harness, one, head) = halted::<H>(2, dead(true)).await;
    enqueue(&harness, &[plain("free")]).await;
    discard_one(harness.store().as_ref(), &head).await;
    let fetched = one.release_key(&key("k")).await;
    assert_eq!(fetched.released, [(Partition::new(0), key("k"))]);
    assert_eq!(labels(&fetched), ["0", "1", "free"]);
    let again = one.release_key(&key("k")).await;
    assert!(again.released.is_empty(), "nothing waits any more");
    assert_eq!(labels(&again), ["0", "1", "free"]);
}

/// A release of one key leaves the rows of others waiting.
pub async fn a_release_frees_only_its_keys<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(
        &harness,
        &[keyed("k", "a"), keyed("l", "b"), keyed("m", "c")],
    )
    .await;
    one.set_aside(&one.fetch().await.pending).await;
    let fetched = one
        .fetch_each(|part| part.release = vec![key("m"), key("k"), key("unknown")])
        .await;
    assert_eq!(labels(&fetched), ["a", "c"]);
    assert_eq!(fetched.released.len(), 2);
}

/// A sweep finds every key that waits behind nothing, at most 64 at a time.
pub async fn sweeps_find_every_key<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..150).map(|n| keyed(&format!("k{n}"), n)).collect();
    enqueue(&harness, &drafts).await;
    one.set_aside(&one.fetch().await.pending).await;
    let mut released = 0;
    for _ in 0..10 {
        let fetched = one.sweep().await;
        let count = fetched.released.len();
        assert!(count <= 64, "{count} keys in one sweep");
        released += count;
        if released == 150 {
            assert_eq!(fetched.pending.len(), 150);
            return;
        }
        assert!(count > 0, "a sweep frees something while keys wait");
    }
    panic!("ten sweeps freed {released} keys of 150");
}

/// A sweep finds the keys that wait behind nothing among many that wait behind something.
pub async fn a_sweep_sees_past_blocked_keys<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let keys: Vec<String> = (0..100).map(|n| format!("k{n:03}")).collect();
    let heads: Vec<_> = keys.iter().map(|k| keyed(k, "head")).collect();
    let tails: Vec<_> = keys.iter().map(|k| keyed(k, k)).collect();
    let ids = enqueue(&harness, &heads).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    enqueue(&harness, &tails).await;
    assert_eq!(aside_count(&one.fetch().await), 100);
    // The last by name, so that a walk in the order of the keys must pass all others.
    discard_one(harness.store().as_ref(), &ids[99]).await;
    assert_eq!(labels(&one.sweep().await), ["k099"]);
}

/// A release stops at the first row of the key that retries, or is dead and halts.
pub async fn a_release_stops_at_the_next_obstacle<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 4)).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[2], retry(LATER)).await;
    let others = [rows[0].clone(), rows[1].clone(), rows[3].clone()];
    one.set_aside(&others).await;
    assert_eq!(labels(&one.release_key(&key("k")).await), ["0", "1"]);
    let expected = [
        State::Pending,
        State::Pending,
        State::Retrying,
        State::Waiting,
    ];
    assert_eq!(states(harness.store().as_ref()).await, expected);
}

/// A row that waited keeps its attempts and its revision: what its caller knew of it holds.
pub async fn a_released_row_keeps_its_attempts<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("k", "a")]).await;
    let mut failed = one.settlement(&one.one().await, retry(Duration::ZERO));
    failed.attempt = 5;
    assert_eq!(one.send(&failed).await, Settled::Applied);
    let row = one.one().await;
    one.set_aside(std::slice::from_ref(&row)).await;
    let released = one.sweep().await.pending.remove(0);
    assert_eq!(released.attempt, 5);
    assert_eq!(released.revision, row.revision);
    one.apply(&row, done()).await;
}

/// When followers are set aside while their head is settled, nothing is stranded: a sweep always
/// frees them, in order.
pub async fn a_head_settled_while_followers_are_set_aside_strands_nothing<H: Harness>() {
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let one = Arc::new(Instance::owner(harness.store()).await);
    for round in 0..30_usize {
        let stem = format!("k{round}");
        enqueue(harness.as_ref(), &run_of(&stem, 5)).await;
        let head = one.fetch().await.pending.remove(0);
        one.apply(&head, retry(Duration::ZERO)).await;
        let again = iobox_core::store::Pending {
            revision: head.revision.next(),
            ..head
        };
        let settlement = one.settlement(&again, done());
        let barrier = Arc::new(Barrier::new(2));
        let settling = tokio::spawn({
            let (barrier, store) = (Arc::clone(&barrier), harness.another().await);
            async move {
                barrier.wait().await;
                store.settle(&[settlement]).await.expect("settle")
            }
        });
        barrier.wait().await;
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        // It holds the head, as an owner does who is settling it.
        let fetched = one.fetch_each(|part| part.held = vec![again.seq]).await;
        let count = aside_count(&fetched);
        assert!(count == 4 || count == 0, "round {round}: {fetched:?}");
        assert_eq!(settling.await.expect("no panic"), [Settled::Applied]);
        let swept = one.sweep().await;
        assert_eq!(labels(&swept), ["1", "2", "3", "4"], "round {round}");
        one.apply_all(&swept.pending, &done()).await;
    }
}

/// When a fetch sets followers aside while a sweep runs, another sweep frees all of them.
pub async fn a_sweep_while_followers_are_set_aside_strands_nothing<H: Harness>() {
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let one = Arc::new(Instance::owner(harness.store()).await);
    for round in 0..30_usize {
        let stem = format!("k{round}");
        enqueue(harness.as_ref(), &run_of(&stem, 6)).await;
        let rows = one.fetch().await.pending;
        one.set_aside(&rows[..3]).await;
        let plain = one.request();
        let barrier = Arc::new(Barrier::new(2));
        let fetching = tokio::spawn({
            let (barrier, store) = (Arc::clone(&barrier), harness.another().await);
            async move {
                barrier.wait().await;
                store.fetch(&plain).await.expect("fetch")
            }
        });
        barrier.wait().await;
        one.sweep().await;
        fetching.await.expect("no panic");
        let swept = one.sweep().await;
        assert_eq!(
            labels(&swept),
            ["0", "1", "2", "3", "4", "5"],
            "round {round}"
        );
        one.apply_all(&swept.pending, &done()).await;
    }
}

/// A takeover finds the followers that the old owner set aside.
pub async fn an_heir_finds_what_was_set_aside<H: Harness>() {
    let (harness, one, head) = halted::<H>(3, dead(true)).await;
    discard_one(harness.store().as_ref(), &head).await;
    let heir = Instance::heir(&harness).await;
    assert_eq!(labels(&heir.sweep().await), ["0", "1", "2"]);
    assert!(
        one.sweep().await.released.is_empty(),
        "the old owner moves nothing"
    );
}

/// A head to which `change` was applied, and `count` followers that were set aside behind it,
/// labelled from 0.
async fn halted<H: Harness>(
    count: usize,
    change: iobox_core::store::Change,
) -> (H, Instance<H::Store>, MessageId) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut ids = enqueue(&harness, &[keyed("k", "head")]).await;
    one.apply(&one.one().await, change).await;
    enqueue(&harness, &run_of("k", count)).await;
    let fetched = one.fetch().await;
    assert_eq!(aside_count(&fetched), count);
    (harness, one, ids.remove(0))
}

/// Executes what a release of the key brings, round by round, and returns the labels in order.
async fn drain_by_release<S: Store>(one: &Instance<S>) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let fetched = one.release_key(&key("k")).await;
        if fetched.pending.is_empty() {
            return order;
        }
        order.extend(executed(one, &fetched).await);
    }
}

/// Executes what sweeps bring, round by round, and returns the labels in order.
async fn drain_by_sweep<S: Store>(one: &Instance<S>) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let fetched = one.sweep().await;
        if fetched.pending.is_empty() {
            return order;
        }
        order.extend(executed(one, &fetched).await);
    }
}

/// Settles a round as done and returns its labels. It holds at most the head and one release.
async fn executed<S: Store>(one: &Instance<S>, fetched: &Fetched) -> Vec<String> {
    assert!(fetched.aside.is_empty(), "nothing is in the way");
    let labels = labels(fetched);
    let followers = labels.iter().filter(|label| *label != "head").count();
    assert!(followers <= ROUND, "{followers} rows in one release");
    one.apply_all(&fetched.pending, &done()).await;
    labels
}
