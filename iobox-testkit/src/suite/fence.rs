//! The fence: whoever lost a partition changes nothing in it.

use std::{collections::BTreeSet, sync::Arc};

use iobox_core::store::{Epoch, Settled, State};
use tokio::sync::Barrier;

use super::{
    Harness,
    support::{
        Instance, LATER, TTL, aside_count, clear, dead, done, enqueue, key, key_in, keyed, labels,
        partitions, plain, retry, run_of, states, suspect, unknown,
    },
};

/// A settlement under an older epoch changes nothing and says that the lease is lost.
pub async fn an_older_epoch_settles_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("k", "a")]).await;
    let row = one.one().await;
    let late = one.settlement(&row, done());
    one.release_all().await;
    one.acquire().await;
    for change in [
        done(),
        retry(LATER),
        unknown(LATER, true),
        dead(true),
        suspect(1),
        clear(1),
    ] {
        let late = iobox_core::store::Settlement {
            change,
            ..late.clone()
        };
        assert_eq!(one.send(&late).await, Settled::LeaseLost, "{late:?}");
    }
    let same = one.one().await;
    assert_eq!((same.revision, same.attempt), (row.revision, row.attempt));
    one.apply(&same, done()).await;
}

/// A settlement after the instance's own release is refused, although nobody raised the epoch.
pub async fn a_settle_after_ones_own_release_is_refused<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let late = one.settlement(&one.one().await, done());
    one.release_all().await;
    assert_eq!(one.send(&late).await, Settled::LeaseLost);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// A settlement under an epoch that was never granted is refused.
pub async fn an_epoch_of_the_future_settles_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let mut ahead = one.settlement(&one.one().await, done());
    ahead.epoch = Epoch(ahead.epoch.0 + 1);
    assert_eq!(one.send(&ahead).await, Settled::LeaseLost);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// A settlement that was applied reads as a lost lease when it is repeated after a takeover.
pub async fn a_repetition_after_a_takeover_is_refused<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let settlement = one.settlement(&one.one().await, done());
    assert_eq!(one.send(&settlement).await, Settled::Applied);
    let _heir = Instance::heir(&harness).await;
    assert_eq!(one.send(&settlement).await, Settled::LeaseLost);
}

/// An owner whose lease ran out settles what it has until somebody takes over.
pub async fn an_expired_owner_settles_until_a_takeover<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b")]).await;
    let fetched = one.fetch().await;
    harness.advance(TTL * 2).await;
    one.apply(&fetched.pending[0], done()).await;
    let heir = Instance::owner(harness.store()).await;
    assert_eq!(labels(&heir.fetch().await), ["b"]);
    let late = one.settle(&fetched.pending[1], done()).await;
    assert_eq!(late, Settled::LeaseLost);
}

/// The rows of a partition that is lost stay as they are; those of one that is held are settled, in
/// the same call.
pub async fn partitions_are_fenced_one_by_one<H: Harness>() {
    let two = partitions(2);
    let harness = H::fresh(two).await;
    let mut one = Instance::owner(harness.store()).await;
    let (p, q) = (key_in(two, 0, "p"), key_in(two, 1, "q"));
    let drafts = [
        keyed(&p, "p1"),
        keyed(&q, "q1"),
        keyed(&p, "p2"),
        keyed(&q, "q2"),
    ];
    enqueue(&harness, &drafts).await;
    let mut rows = one.fetch().await.pending;
    rows.sort_by_key(|row| row.seq);
    let settlements: Vec<_> = rows.iter().map(|row| one.settlement(row, done())).collect();
    one.release(&[rows[0].partition]).await;
    let settled = one.send_all(&settlements).await;
    let (lost, applied) = (Settled::LeaseLost, Settled::Applied);
    assert_eq!(settled, [lost, applied, lost, applied]);
    let (open, closed) = (State::Pending, State::Done);
    let states = states(harness.store().as_ref()).await;
    assert_eq!(states, [open, closed, open, closed]);
}

/// A fetch under an older epoch moves no row out of waiting.
pub async fn an_older_epoch_releases_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 2)).await;
    one.set_aside(&one.fetch().await.pending).await;
    let heir = Instance::heir(&harness).await;
    for late in [one.sweep().await, one.release_key(&key("k")).await] {
        assert!(late.released.is_empty(), "{late:?}");
        assert!(late.pending.is_empty(), "{late:?}");
    }
    assert_eq!(states(harness.store().as_ref()).await, [State::Waiting; 2]);
    assert_eq!(labels(&heir.sweep().await), ["0", "1"]);
}

/// A fetch under an older epoch sets no row aside.
pub async fn an_older_epoch_sets_nothing_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 3)).await;
    one.apply(&one.fetch().await.pending[0], retry(LATER)).await;
    let heir = Instance::heir(&harness).await;
    let late = one.fetch().await;
    assert!(late.pending.is_empty() && late.aside.is_empty(), "{late:?}");
    let expected = [State::Retrying, State::Pending, State::Pending];
    assert_eq!(states(harness.store().as_ref()).await, expected);
    assert_eq!(aside_count(&heir.fetch().await), 2);
}

/// A fetch after one's own release moves no row out of waiting.
pub async fn a_fetch_after_ones_own_release_moves_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 2)).await;
    one.set_aside(&one.fetch().await.pending).await;
    let before = one.held.clone();
    one.release_all().await;
    one.held = before;
    assert!(one.sweep().await.released.is_empty());
    assert_eq!(states(harness.store().as_ref()).await, [State::Waiting; 2]);
}

/// When settlements of the old owner race with a takeover, each is either applied before it, or
/// refused: what the new owner's first fetch shows is never changed by the old epoch.
pub async fn a_racing_takeover_splits_settlements_cleanly<H: Harness>() {
    const ROWS: usize = 48;
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let mut old = Instance::owner(harness.store()).await;
    let mut applied_ever = 0;
    let mut refused_ever = 0;
    for round in 0..16_usize {
        let drafts: Vec<_> = (0..ROWS).map(plain).collect();
        enqueue(harness.as_ref(), &drafts).await;
        let rows = old.fetch().await.pending;
        assert_eq!(rows.len(), ROWS);
        harness.advance(TTL * 2).await;
        let barrier = Arc::new(Barrier::new(2));
        let store = harness.another().await;
        let taker = tokio::spawn({
            let barrier = Arc::clone(&barrier);
            async move {
                let mut heir = Instance::register(&store).await;
                barrier.wait().await;
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                // A store may pass over a partition that is locked by a settle under way.
                while heir.held.is_empty() {
                    assert_eq!(heir.acquire().await.0, 1);
                    tokio::task::yield_now().await;
                }
                let first = heir.fetch().await.pending;
                (heir, first)
            }
        });
        barrier.wait().await;
        let mut applied = BTreeSet::new();
        for chunk in rows.chunks(4) {
            let chunk: Vec<_> = chunk
                .iter()
                .map(|row| old.settlement(row, done()))
                .collect();
            let settled = old.send_all(&chunk).await;
            let all = settled.iter().all(|one| *one == Settled::Applied);
            let none = settled.iter().all(|one| *one == Settled::LeaseLost);
            assert!(all || none, "a group is all or nothing: {settled:?}");
            if all {
                applied.extend(chunk.iter().map(|one| one.seq));
            }
        }
        let (heir, first) = taker.await.expect("the taker does not panic");
        let left: BTreeSet<_> = first.iter().map(|row| row.seq).collect();
        let both: Vec<_> = applied.intersection(&left).collect();
        assert!(
            both.is_empty(),
            "settled behind the new owner's back: {both:?}"
        );
        assert_eq!(applied.len() + left.len(), ROWS, "nothing is lost");
        let again = heir.fetch().await.pending;
        let revisions = |rows: &[iobox_core::store::Pending]| {
            rows.iter()
                .map(|row| (row.seq, row.revision))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            revisions(&first),
            revisions(&again),
            "the old epoch changed a row"
        );
        applied_ever += applied.len();
        refused_ever += left.len();
        heir.apply_all(&first, &done()).await;
        old = heir;
    }
    assert_eq!(applied_ever + refused_ever, 16 * ROWS);
}
