//! Calls that are dropped at each of their polls: done or not done, and nothing of the store left open.

use iobox_core::{
    queue::Queue,
    store::{AcquireRequest, Acquired, Grant, ReleaseRequest, RenewRequest, Settled, State, Store},
};

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, TTL, done, enqueue, entries, keyed, labels, partitions, plain, run_of, states,
    },
};
use crate::poll_n_then_drop;

/// At how many polls each call is dropped; none of ours has so many.
pub(super) const POLLS: usize = 50;

/// A transaction of an application gets through, which it does not where a dropped call holds a lock, and
/// another handle sees it, which it does not where a dropped call left a transaction open beneath it.
async fn nothing_is_open<H: Harness>(harness: &H, known: usize) {
    enqueue(harness, &[plain("after")]).await;
    let seen = entries(harness.another().await.as_ref()).await.len();
    assert_eq!(seen, known + 1, "somebody else sees what is committed");
}

/// An enqueue that is dropped at any of its polls leaves nothing once its transaction is rolled back.
pub async fn an_enqueue_dropped_at_any_poll_leaves_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for n in 0..=POLLS {
        let mut open = harness.begin().await.expect("begin");
        let drafts = [plain("never").id("x"), plain("never")];
        let enqueued = poll_n_then_drop(open.enqueue(&drafts), n).await;
        assert!(enqueued.is_none_or(|results| results.is_ok()));
        drop(open);
    }
    enqueue(&harness, &[plain("a").id("x")]).await;
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
    nothing_is_open(&harness, 1).await;
}

/// A transaction that is dropped at any poll of its commit is committed whole or not at all.
pub async fn a_commit_dropped_at_any_poll_is_whole_or_nothing<H: Harness>() {
    const ROWS: usize = 3;
    let harness = H::fresh(partitions(4)).await;
    for n in 0..=POLLS {
        let ids: Vec<String> = (0..ROWS).map(|row| format!("{n}-{row}")).collect();
        let drafts: Vec<_> = ids.iter().map(|id| keyed(id, id).id(id)).collect();
        let mut open = harness.begin().await.expect("begin");
        open.enqueue(&drafts).await.expect("enqueue");
        let committed = poll_n_then_drop(open.commit(), n).await;
        let listed = entries(harness.another().await.as_ref()).await;
        let there = listed.iter().filter(|one| ids.contains(&one.id)).count();
        assert!(there == ROWS || there == 0, "{there} of {ROWS} rows");
        if let Some(committed) = committed {
            committed.expect("commit");
            assert_eq!(there, ROWS, "a commit is lost");
        }
    }
    enqueue(&harness, &[plain("after")]).await;
}

/// A fetch that is dropped at any of its polls hides nothing from the next one.
pub async fn a_fetch_dropped_at_any_poll_hides_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 5)).await;
    for n in 0..=POLLS {
        let request = one.request();
        if let Some(fetched) = poll_n_then_drop(harness.store().fetch(&request), n).await {
            assert_eq!(fetched.expect("fetch").pending.len(), 5);
        }
        assert_eq!(labels(&one.fetch().await), ["0", "1", "2", "3", "4"]);
    }
    nothing_is_open(&harness, 5).await;
}

/// A settle that is dropped at any of its polls is done for all of its rows or for none; repeated it has
/// applied, and the rows are what it says, for everybody.
pub async fn a_settle_dropped_at_any_poll_is_not_lost<H: Harness>() {
    const ROWS: usize = 3;
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let another = harness.another().await;
    for n in 0..=POLLS {
        let drafts: Vec<_> = (0..ROWS).map(plain).collect();
        enqueue(&harness, &drafts).await;
        let rows = one.fetch().await.pending;
        let settlements: Vec<_> = rows.iter().map(|row| one.settlement(row, done())).collect();
        let settled = poll_n_then_drop(harness.store().settle(&settlements), n).await;
        if let Some(settled) = settled {
            assert_eq!(settled.expect("settle"), [Settled::Applied; ROWS]);
        }
        let left = one.fetch().await.pending.len();
        assert!(left == 0 || left == ROWS, "{left} of {ROWS} rows are open");
        assert_eq!(one.send_all(&settlements).await, [Settled::Applied; ROWS]);
        let all = states(another.as_ref()).await;
        assert_eq!(all, vec![State::Done; (n + 1) * ROWS]);
    }
    nothing_is_open(&harness, (POLLS + 1) * ROWS).await;
}

/// A renewal that is dropped at any of its polls can be repeated, also the one that registers.
pub async fn a_renewal_dropped_at_any_poll_can_be_repeated<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for n in 0..=POLLS {
        let mut one = Instance::unregistered(harness.store());
        for register in [true, false] {
            let request = RenewRequest {
                queue: Queue::Outbox,
                instance: one.id,
                ttl: TTL,
                register,
                in_flight: 0,
            };
            let renewed = poll_n_then_drop(harness.store().renew(&request), n).await;
            assert!(renewed.is_none_or(|renewed| renewed.is_ok()));
            one.renewal(register).await;
        }
        assert_eq!(one.acquire().await.0, 1, "it is the only one");
        one.leave().await;
    }
    nothing_is_open(&harness, 0).await;
}

/// An acquisition that is dropped at any of its polls strands no partition: its instance, which does not
/// know what it got, gets it again, and works it.
pub async fn an_acquisition_dropped_at_any_poll_strands_nothing<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    let mut one = Instance::register(harness.store()).await;
    let mut known = 0;
    for n in 0..=POLLS {
        let request = AcquireRequest {
            queue: Queue::Outbox,
            instance: one.id,
            held: Vec::new(),
        };
        if let Some(acquired) = poll_n_then_drop(harness.store().acquire(&request), n).await {
            let Acquired::Share { granted, .. } = acquired.expect("acquire") else {
                panic!("an instance that is alive is told that it is gone");
            };
            assert_eq!(granted.len(), 2);
        }
        enqueue(&harness, &[keyed("k", n)]).await;
        known += 1;
        // The dropped call may take effect after the one that follows, which is a lost lease then.
        loop {
            if one.held.len() < 2 {
                one.acquire().await;
            }
            let row = one.one().await;
            match one.settle(&row, done()).await {
                Settled::Applied => break,
                Settled::LeaseLost => one.held.clear(),
                Settled::Superseded => panic!("nobody else changes {:?}", row.seq),
            }
        }
        one.release_all().await;
    }
    nothing_is_open(&harness, known).await;
}

/// A release that is dropped at any of its polls gives back everything or nothing, and can be repeated.
pub async fn a_release_dropped_at_any_poll_can_be_repeated<H: Harness>() {
    let harness = H::fresh(partitions(2)).await;
    for n in 0..=POLLS {
        let mut one = Instance::owner(harness.store()).await;
        let given = std::mem::take(&mut one.held);
        let partitions = given.into_iter().map(|(partition, epoch)| Grant {
            partition,
            epoch,
            abandoned: false,
        });
        let request = ReleaseRequest {
            queue: Queue::Outbox,
            instance: one.id,
            partitions: partitions.collect(),
            leave: true,
        };
        let released = poll_n_then_drop(harness.store().release(&request), n).await;
        assert!(released.is_none_or(|released| released.is_ok()));
        harness.store().release(&request).await.expect("release");
        let next = Instance::register(harness.store()).await;
        let mut next = next;
        let (share, granted) = next.acquire().await;
        assert_eq!((share, granted.len()), (2, 2), "nobody else is there");
        let abandoned = granted.iter().any(|grant| grant.abandoned);
        assert!(!abandoned, "it was given back, not left");
        next.leave().await;
    }
    nothing_is_open(&harness, 0).await;
}
