//! Cancelled calls: a future that is dropped leaves its call done or not done, never half done.

use std::time::Duration;

use iobox_core::{
    queue::Queue,
    store::{AcquireRequest, Settled, State, Store},
};
use tokio::time::timeout;

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, done, enqueue, entries, key, keyed, labels, partitions, plain, run_of, states,
    },
};

/// How often each call is dropped, each time a little later.
const ROUNDS: u64 = 20;

/// Polls a call for a while that grows with the round, then drops it if it is not over.
async fn cut_off<F: Future + Send>(round: u64, call: F) -> Option<F::Output> {
    let after = async {
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        // From the middle on the call gets as far as the server.
        if let Some(late) = round.checked_sub(ROUNDS / 2) {
            let never = std::future::pending::<()>();
            let _ = timeout(Duration::from_millis(late), never).await;
        }
    };
    tokio::select! {
        biased;
        () = after => None,
        output = call => Some(output),
    }
}

/// A settle that is dropped is done for all of its rows or for none, and can be repeated.
pub async fn a_dropped_settle_is_done_or_not_done<H: Harness>() {
    const ROWS: usize = 8;
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS {
        let drafts: Vec<_> = (0..ROWS).map(plain).collect();
        enqueue(&harness, &drafts).await;
        let rows = one.fetch().await.pending;
        let settlements: Vec<_> = rows.iter().map(|row| one.settlement(row, done())).collect();
        if let Some(settled) = cut_off(round, harness.store().settle(&settlements)).await {
            assert_eq!(settled.expect("settle"), [Settled::Applied; ROWS]);
        }
        let left = one.fetch().await.pending.len();
        assert!(left == 0 || left == ROWS, "{left} of {ROWS} rows are open");
        assert_eq!(one.send_all(&settlements).await, [Settled::Applied; ROWS]);
        assert!(one.fetch().await.pending.is_empty());
    }
}

/// An enqueue that is dropped leaves nothing behind once its transaction is rolled back.
pub async fn a_dropped_enqueue_leaves_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for round in 0..ROUNDS {
        let mut open = harness.begin().await.expect("begin");
        let drafts = [plain("never").id("x"), plain("never")];
        if let Some(results) = cut_off(round, open.enqueue(&drafts)).await {
            assert!(results.is_ok(), "{results:?}");
        }
        drop(open);
    }
    enqueue(&harness, &[plain("a").id("x")]).await;
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// A transaction that is dropped in its commit is committed whole or not at all, at any moment that
/// anybody looks.
pub async fn a_dropped_commit_is_whole_or_nothing<H: Harness>() {
    const ROWS: usize = 4;
    let harness = H::fresh(partitions(4)).await;
    let mut committed = Vec::new();
    for round in 0..ROUNDS {
        let drafts: Vec<_> = (0..ROWS).map(|n| keyed(&format!("k{n}"), n)).collect();
        let mut open = harness.begin().await.expect("begin");
        let results = open.enqueue(&drafts).await.expect("enqueue");
        let ids: Vec<_> = results.iter().map(|one| one.id().to_string()).collect();
        let whole = cut_off(round, open.commit()).await;
        committed.push((ids, whole.map(|result| result.expect("commit"))));
        let listed = entries(harness.store().as_ref()).await;
        for (ids, whole) in &committed {
            let there = listed.iter().filter(|one| ids.contains(&one.id)).count();
            assert!(there == ROWS || there == 0, "{there} of {ROWS} rows");
            assert!(there == ROWS || whole.is_none(), "a commit is lost");
        }
    }
}

/// A fetch that is dropped while it releases strands nothing: the next sweep brings every row.
pub async fn a_dropped_release_strands_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    for round in 0..ROUNDS {
        enqueue(&harness, &run_of("k", 6)).await;
        one.set_aside(&one.fetch().await.pending).await;
        let mut request = one.request();
        request.partitions[0].release = vec![key("k")];
        if let Some(fetched) = cut_off(round, harness.store().fetch(&request)).await {
            assert_eq!(fetched.expect("fetch").pending.len(), 6);
        }
        let swept = one.sweep().await;
        assert_eq!(labels(&swept), ["0", "1", "2", "3", "4", "5"]);
        one.apply_all(&swept.pending, &done()).await;
    }
}

/// An acquisition that is dropped strands no partition: its instance, which does not know what it
/// got, gets them again.
pub async fn a_dropped_acquisition_strands_nothing<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let mut one = Instance::register(harness.store()).await;
    for round in 0..ROUNDS {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: one.id,
            held: Vec::new(),
        };
        if let Some(acquired) = cut_off(round, harness.store().acquire(&request)).await {
            acquired.expect("acquire");
        }
        let drafts: Vec<_> = (0..8).map(|n| keyed(&format!("k{n}"), n)).collect();
        enqueue(&harness, &drafts).await;
        // The dropped call may take effect after the one that follows, which is a lost lease then.
        let mut settled = 0;
        while settled < drafts.len() {
            let lost = one.held.len() < 4;
            if lost {
                assert_eq!(one.acquire().await.0, 4);
            }
            for row in one.fetch().await.pending {
                match one.settle(&row, done()).await {
                    Settled::Applied => settled += 1,
                    Settled::LeaseLost => {
                        one.held.remove(&row.partition);
                        break;
                    }
                    Settled::Superseded => panic!("nobody else changes {:?}", row.seq),
                }
            }
        }
        one.release_all().await;
    }
}
