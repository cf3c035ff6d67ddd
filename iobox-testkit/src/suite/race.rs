//! Races: what two calls at the same time may not do to each other.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    queue::Queue,
    store::{Admin, Filter, ReplayId, Selection, Settled, Settlement, State, Store},
};
use tokio::sync::Barrier;

use super::{
    Harness,
    support::{
        Instance, LATER, aside_count, clear, dead, discard_one, done, enqueue, enqueue_results,
        entries, keyed, label, labels, partitions, plain, purge, replay_one, retry, run_of, state,
        suspect,
    },
};

/// How often each race is run.
const ROUNDS: usize = 20;

/// Runs two calls at the same time, the second on another handle.
async fn race<H, A, B, S>(
    harness: &H,
    first: A,
    second: impl FnOnce(Arc<H::Store>) -> S,
) -> (A::Output, B)
where
    H: Harness,
    A: Future,
    S: Future<Output = B> + Send + 'static,
    B: Send + 'static,
{
    let barrier = Arc::new(Barrier::new(2));
    let second = second(harness.another().await);
    let other = Arc::clone(&barrier);
    let second = tokio::spawn(async move {
        other.wait().await;
        second.await
    });
    barrier.wait().await;
    let first = first.await;
    (first, second.await.expect("the second call does not panic"))
}

/// A verdict and a discard of the same message at the same time: one of them wins, and the other is
/// told so.
pub async fn a_verdict_and_a_discard_exclude_each_other<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for _ in 0..ROUNDS {
        let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
        let row = one.one().await;
        let target = id.clone();
        let (settled, discarded) = race(&harness, one.settle(&row, done()), |store| async move {
            discard_one(store.as_ref(), &target).await
        })
        .await;
        let end = state(harness.store().as_ref(), &id).await;
        match settled {
            Settled::Applied => assert_eq!((end, discarded.count), (State::Done, 0)),
            Settled::Superseded => assert_eq!((end, discarded.count), (State::Discarded, 1)),
            Settled::LeaseLost => panic!("the lease is held"),
        }
    }
}

/// A mark and a discard of the same message at the same time: the message ends discarded, and a
/// mark that came too late is told so.
pub async fn a_mark_and_a_discard_end_in_a_discard<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS {
        let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
        let row = one.one().await;
        let mark = [suspect(1), clear(1)][round % 2].clone();
        let mark = one.settle(&row, mark);
        let target = id.clone();
        let (settled, discarded) = race(&harness, mark, |store| async move {
            discard_one(store.as_ref(), &target).await
        })
        .await;
        assert_ne!(settled, Settled::LeaseLost);
        assert_eq!(discarded.count, 1);
        let end = state(harness.store().as_ref(), &id).await;
        assert_eq!(end, State::Discarded);
        assert!(one.sweep().await.pending.is_empty(), "nothing comes back");
    }
}

/// Followers that are set aside while their dead head is replayed or discarded are not stranded: a
/// sweep brings them, in order.
pub async fn followers_set_aside_during_a_replay_are_not_stranded<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS {
        let replays = round % 2 == 0;
        let head = enqueue(&harness, &run_of("k", 5)).await.remove(0);
        one.apply(&one.fetch().await.pending[0], dead(true)).await;
        let (fetched, ()) = race(&harness, one.fetch(), |store| async move {
            if replays {
                replay_one(store.as_ref(), &head).await;
            } else {
                discard_one(store.as_ref(), &head).await;
            }
        })
        .await;
        // The fetch came before the replay, or saw what it left.
        let count = aside_count(&fetched);
        assert!(count == 4 || count == 0, "{fetched:?}");
        let swept = one.sweep().await;
        let all = ["0", "1", "2", "3", "4"];
        assert_eq!(labels(&swept), all[usize::from(!replays)..]);
        one.apply_all(&swept.pending, &done()).await;
    }
}

/// Two sweeps at the same time release each row once.
pub async fn two_sweeps_release_each_row_once<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS {
        let drafts: Vec<_> = (0..20).map(|n| keyed(&format!("k{}", n % 4), n)).collect();
        enqueue(&harness, &drafts).await;
        let before = one.fetch().await.pending;
        one.set_aside(&before).await;
        let mut request = one.request();
        request.partitions[0].sweep = true;
        let (first, second) = race(&harness, one.sweep(), |store| async move {
            store.fetch(&request).await.expect("fetch")
        })
        .await;
        let released = first.released.len() + second.released.len();
        assert!(released >= 4, "every key was released in round {round}");
        let after = one.fetch().await.pending;
        assert_eq!(after.len(), 20);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((after.seq, after.revision), (before.seq, before.revision));
        }
        one.apply_all(&after, &done()).await;
    }
}

/// A settlement that is sent twice at the same time is applied once, and reported as applied twice.
pub async fn a_settlement_sent_twice_is_applied_once<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for _ in 0..ROUNDS {
        let drafts: Vec<_> = (0..6).map(plain).collect();
        enqueue(&harness, &drafts).await;
        let rows = one.fetch().await.pending;
        let settlements: Vec<Settlement> = rows
            .iter()
            .map(|row| one.settlement(row, suspect(1)))
            .collect();
        let again = settlements.clone();
        let (first, second) = race(&harness, one.send_all(&settlements), |store| async move {
            store.settle(&again).await.expect("settle")
        })
        .await;
        assert_eq!(first, [Settled::Applied; 6]);
        assert_eq!(second, [Settled::Applied; 6]);
        let after = one.fetch().await.pending;
        for (before, after) in rows.iter().zip(&after) {
            assert_eq!(after.revision, before.revision.next());
        }
        one.apply_all(&after, &done()).await;
    }
}

/// Two replays at the same time put each message back once, and each counts its own.
pub async fn two_replays_share_the_messages<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS / 2 {
        let drafts: Vec<_> = (0..20).map(plain).collect();
        enqueue(&harness, &drafts).await;
        one.apply_all(&one.fetch().await.pending, &dead(true)).await;
        let replay = |store: Arc<H::Store>| async move {
            let all = Selection::Matching(Filter::default());
            let replayed = store.replay(&Queue::Outbox, &all, false).await;
            replayed.expect("replay")
        };
        let first = replay(Arc::clone(harness.store()));
        let (first, second) = race(&harness, first, replay).await;
        assert_eq!(first.count + second.count, 20, "round {round}");
        let mut unsettled = 0;
        for one in [first, second] {
            assert!(one.replay.is_some() || one.count == 0, "{one:?}");
            if let Some(ReplayId(number)) = one.replay {
                let progress = harness
                    .store()
                    .replay_progress(&Queue::Outbox, ReplayId(number));
                let progress = progress.await.expect("replay_progress");
                assert_eq!(progress.unsettled, one.count);
                unsettled += progress.unsettled;
            }
        }
        assert_eq!(unsettled, 20);
        one.apply_all(&one.fetch().await.pending, &done()).await;
    }
}

/// Two purges at the same time remove each message once, and count what they removed.
pub async fn two_purges_share_the_messages<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS / 2 {
        let drafts: Vec<_> = (0..30).map(plain).collect();
        enqueue(&harness, &drafts).await;
        one.apply_all(&one.fetch().await.pending, &done()).await;
        harness.advance(LATER).await;
        let purge =
            |store: Arc<H::Store>| async move { purge(store.as_ref(), LATER / 2, 20).await };
        let first = purge(Arc::clone(harness.store()));
        let (first, second) = race(&harness, first, purge).await;
        assert!(first <= 20 && second <= 20, "each is bounded");
        let left = entries(harness.store().as_ref()).await.len() as u64;
        assert_eq!(first + second + left, 30, "round {round}");
        let rest = super::support::purge(harness.store().as_ref(), LATER / 2, 100).await;
        assert_eq!(rest, left, "what both passed over is left for the next");
    }
}

/// While an owner works through a key, messages that are enqueued at the same time never overtake
/// each other, and none is lost.
pub async fn a_working_owner_and_a_writer_keep_the_order<H: Harness>() {
    const COUNT: usize = 120;
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let one = Instance::owner(harness.store()).await;
    let writer = tokio::spawn({
        let harness = Arc::clone(&harness);
        async move {
            for n in 0..COUNT {
                enqueue_results(harness.as_ref(), &[keyed("k", n)]).await;
            }
        }
    });
    let mut order = Vec::new();
    while order.len() < COUNT {
        let fetched = one.sweep().await;
        let Some(head) = fetched.pending.first() else {
            tokio::task::yield_now().await;
            continue;
        };
        // Every other one fails once, so that its followers wait while the writer goes on.
        if head.attempt == 0 && order.len() % 2 == 0 {
            let mut again = one.settlement(head, retry(Duration::ZERO));
            again.attempt = 1;
            assert_eq!(one.send(&again).await, Settled::Applied);
            continue;
        }
        order.push(label(head));
        one.apply(head, done()).await;
    }
    writer.await.expect("the writer does not panic");
    let expected: Vec<_> = (0..COUNT).map(|n| n.to_string()).collect();
    assert_eq!(order, expected);
    assert!(one.sweep().await.pending.is_empty());
}
