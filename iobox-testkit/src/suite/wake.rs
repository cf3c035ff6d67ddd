//! Waking: hints that there is work.

use std::time::Duration;

use iobox_core::{
    queue::Queue,
    store::{Admin, Filter, Hint, Listener, Selection, Store},
};
use tokio::time::timeout;

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, PATIENCE, dead, discard_one, enqueue, labels, partitions, plain, replay_one,
    },
};

/// Every enqueue is signalled within the process at once, also when it wrote nothing but duplicates.
pub async fn an_enqueue_is_signalled<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    for duplicate in [false, true] {
        let mut open = harness.begin().await.expect("begin");
        let mut listener = harness.store().signal().listen();
        let results = open.enqueue(&[plain("a").id("x")]).await.expect("enqueue");
        assert_eq!(heard(&mut listener).await, Hint::Enqueued);
        assert_eq!(results[0].is_duplicate(), duplicate);
        open.commit().await.expect("commit");
    }
}

/// A replay and a discard wake the relays of the process.
pub async fn a_replay_and_a_discard_wake<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    one.apply_all(&one.fetch().await.pending, &dead(true)).await;
    let mut listener = harness.store().signal().listen();
    replay_one(harness.store().as_ref(), &ids[0]).await;
    assert_eq!(heard(&mut listener).await, Hint::Wake);
    discard_one(harness.store().as_ref(), &ids[1]).await;
    assert_eq!(heard(&mut listener).await, Hint::Wake);
    let all = Selection::Matching(Filter::default());
    let discarded = harness.store().discard(&Queue::Outbox, &all, false).await;
    assert_eq!(discarded.expect("discard").count, 2);
    assert_eq!(heard(&mut listener).await, Hint::Wake);
}

/// A sleeper that armed is woken by a commit through another handle, or looks for itself in time.
///
/// A store without hints across processes needs none: polling finds the message.
pub async fn a_commit_wakes_a_sleeper<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let sleeping = harness.another().await;
    let one = Instance::owner(&sleeping).await;
    for label in ["a", "b", "c"] {
        let Some(hints) = sleeping.wake_up() else {
            enqueue(&harness, &[plain(label)]).await;
            continue;
        };
        let mut armed = hints.arm(&Queue::Outbox).await.expect("arm");
        let at_most = armed.at_most();
        assert!(at_most > Duration::ZERO, "a sleep of {at_most:?}");
        enqueue(&harness, &[plain(label)]).await;
        // A hint may be late, but a store that promises long sleeps must give it.
        let woken = timeout(at_most.max(PATIENCE), armed.wait()).await;
        assert!(woken.is_ok(), "nobody woke the sleeper");
        armed.disarm().await;
    }
    assert_eq!(labels(&one.fetch().await), ["a", "b", "c"]);
}

/// Sleepers of two processes that come and go, by disarming or by being dropped, hold up nothing.
pub async fn sleepers_come_and_go<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let (here, there) = (harness.another().await, harness.another().await);
    for round in 0..10_usize {
        if let (Some(here), Some(there)) = (here.wake_up(), there.wake_up()) {
            let first = here.arm(&Queue::Outbox).await.expect("arm");
            let second = there.arm(&Queue::Outbox).await.expect("arm");
            if round % 2 == 0 {
                first.disarm().await;
                drop(second);
            } else {
                drop(first);
                second.disarm().await;
            }
        }
        let drafts = [plain(round)];
        let written = timeout(PATIENCE, enqueue(&harness, &drafts)).await;
        assert!(written.is_ok(), "an enqueue is held up");
    }
    let one = Instance::owner(harness.store()).await;
    assert_eq!(one.fetch().await.pending.len(), 10);
}

/// The next hint, which must be there at once.
async fn heard(listener: &mut Listener) -> Hint {
    let hint = timeout(PATIENCE, listener.next()).await;
    hint.expect("a signal")
}
