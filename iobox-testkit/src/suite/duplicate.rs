//! Duplicates: ids that callers bring, and enqueue twice.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    ErrorKind,
    message::MessageId,
    store::{Enqueued, State},
};
use tokio::time::timeout;

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, LATER, MOMENT, dead, done, enqueue, enqueue_results, entries, keyed, labels,
        partitions, plain, purge, state,
    },
};

/// A second message with an id is reported as a duplicate of the first, which stays as it was.
pub async fn a_second_message_with_an_id_is_a_duplicate<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[keyed("k", "first").id("x")]).await;
    let results = enqueue_results(&harness, &[keyed("l", "second").id("x")]).await;
    assert_eq!(results, [Enqueued::Duplicate(id("x"))]);
    let one = Instance::owner(harness.store()).await;
    assert_eq!(labels(&one.fetch().await), ["first"]);
}

/// A duplicate within one call is reported, and the drafts around it are written.
pub async fn a_duplicate_within_a_call_is_reported<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let drafts = [
        plain("a").id("x"),
        plain("b"),
        plain("never").id("x"),
        plain("c").id("y"),
        plain("never").id("x"),
    ];
    let results = enqueue_results(&harness, &drafts).await;
    let duplicates: Vec<_> = results.iter().map(Enqueued::is_duplicate).collect();
    assert_eq!(duplicates, [false, false, true, false, true]);
    assert_eq!(results[2], Enqueued::Duplicate(id("x")));
    let one = Instance::owner(harness.store()).await;
    assert_eq!(labels(&one.fetch().await), ["a", "b", "c"]);
}

/// A duplicate in a later call of the same transaction is reported.
pub async fn a_duplicate_within_a_transaction_is_reported<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("a").id("x")]).await.expect("enqueue");
    let second = open
        .enqueue(&[plain("never").id("x"), plain("b")])
        .await
        .expect("enqueue");
    assert!(
        second[0].is_duplicate() && !second[1].is_duplicate(),
        "{second:?}"
    );
    open.commit().await.expect("commit");
    let one = Instance::owner(harness.store()).await;
    assert_eq!(labels(&one.fetch().await), ["a", "b"]);
}

/// A duplicate poisons nothing: the transaction goes on and commits.
pub async fn a_duplicate_poisons_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a").id("x")]).await;
    let mut open = harness.begin().await.expect("begin");
    for n in 0..3 {
        let results = open
            .enqueue(&[plain("never").id("x"), plain(n)])
            .await
            .expect("enqueue");
        assert!(results[0].is_duplicate() && !results[1].is_duplicate());
    }
    open.commit().await.expect("commit");
    let one = Instance::owner(harness.store()).await;
    assert_eq!(labels(&one.fetch().await), ["a", "0", "1", "2"]);
}

/// An id of a transaction that was rolled back is free.
pub async fn a_rolled_back_id_is_free<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("never").id("x")])
        .await
        .expect("enqueue");
    open.rollback().await.expect("rollback");
    let results = enqueue_results(&harness, &[plain("a").id("x")]).await;
    assert_eq!(results, [Enqueued::New(id("x"))]);
}

/// An id stays taken when its message is done, and outlives it when it is purged.
pub async fn an_id_outlives_its_message<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a").id("x")]).await;
    one.apply(&one.one().await, done()).await;
    let again = [plain("again").id("x")];
    assert!(enqueue_results(&harness, &again).await[0].is_duplicate());
    harness.advance(LATER).await;
    let store = harness.store().as_ref();
    assert_eq!(purge(store, Duration::ZERO, 10).await, 1);
    assert!(enqueue_results(&harness, &again).await[0].is_duplicate());
    assert!(entries(store).await.is_empty());
}

/// A purge forgets the ids of messages that an earlier purge removed, once they are old, at most as
/// many as it is told to.
pub async fn an_id_is_forgotten_after_its_message<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let labels = ["x", "y", "z"];
    let drafts = labels.map(|label| plain(label).id(label));
    enqueue(&harness, &drafts).await;
    one.apply_all(&one.fetch().await.pending, &done()).await;
    harness.advance(LATER * 2).await;
    let store = harness.store().as_ref();
    assert_eq!(purge(store, LATER, 10).await, 3, "the messages go first");
    let known = async || {
        let mut open = harness.begin().await.expect("begin");
        let results = open.enqueue(&drafts).await.expect("enqueue");
        open.rollback().await.expect("rollback");
        results.iter().filter(|one| one.is_duplicate()).count()
    };
    assert_eq!(known().await, 3);
    assert_eq!(purge(store, LATER * 3, 10).await, 0);
    assert_eq!(known().await, 3, "they are not old enough");
    assert_eq!(purge(store, LATER, 2).await, 0);
    assert_eq!(known().await, 1, "two were forgotten");
    assert_eq!(purge(store, LATER, 2).await, 0);
    assert_eq!(known().await, 0);
    let again = enqueue_results(&harness, &drafts).await;
    assert!(again.iter().all(|one| !one.is_duplicate()));
}

/// An id is kept as long as its message is there, however old both are.
pub async fn an_id_stays_as_long_as_its_message<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts = ["open", "dead"].map(|label| plain(label).id(label));
    enqueue(&harness, &drafts).await;
    one.apply(&one.fetch().await.pending[1], dead(true)).await;
    harness.advance(LATER).await;
    let store = harness.store().as_ref();
    for _ in 0..3 {
        assert_eq!(purge(store, Duration::ZERO, 10).await, 0);
    }
    let again = enqueue_results(&harness, &drafts).await;
    assert!(again.iter().all(Enqueued::is_duplicate));
}

/// Ids are compared byte by byte.
pub async fn ids_are_compared_byte_by_byte<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let ids = ["a", "A", "a ", " a", "á", "a\u{301}", "ａ"];
    let drafts = ids.map(|id| plain("x").id(id));
    assert_eq!(enqueue(&harness, &drafts).await.len(), ids.len());
    let again = enqueue_results(&harness, &drafts).await;
    assert!(again.iter().all(Enqueued::is_duplicate), "{again:?}");
}

/// Of two open transactions that enqueue the same id, one writes it: the other is told of a
/// duplicate, or asked to run again and told then.
///
/// Where one transaction at a time may write, the second begins after the first.
pub async fn an_id_of_two_open_transactions_is_written_once<H: Harness>() {
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("first").id("x")])
        .await
        .expect("enqueue");
    let mut second = second_writer(&harness);
    // It may be through by then, or wait for the first transaction.
    let early = timeout(MOMENT, &mut second).await.ok();
    let committed = open.commit().await;
    let results = match early {
        Some(results) => results,
        None => second.await,
    };
    let results = results.expect("the second writer does not panic");
    let first = match committed {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Conflict => false,
        Err(error) => panic!("the commit failed: {error}"),
    };
    assert_eq!(results[0].is_duplicate(), first, "{results:?}");
    let one = Instance::owner(harness.store()).await;
    let expected = if first { "first" } else { "second" };
    assert_eq!(labels(&one.fetch().await), [expected]);
}

/// A transaction that enqueues an id of another open one is new once that one rolls back.
///
/// Where one transaction at a time may write, the second begins after the first.
pub async fn an_id_of_a_transaction_that_rolls_back_is_new<H: Harness>() {
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("never").id("x")])
        .await
        .expect("enqueue");
    let mut second = second_writer(&harness);
    let early = timeout(MOMENT, &mut second).await.ok();
    open.rollback().await.expect("rollback");
    let results = match early {
        Some(results) => results,
        None => second.await,
    };
    let results = results.expect("the second writer does not panic");
    assert_eq!(results, [Enqueued::New(id("x"))]);
    let one = Instance::owner(harness.store()).await;
    assert_eq!(labels(&one.fetch().await), ["second"]);
}

/// Of many transactions that race to enqueue the same ids, in different orders, exactly one writes
/// each.
pub async fn racing_duplicates_are_written_once<H: Harness>() {
    const TASKS: usize = 6;
    let harness = Arc::new(H::fresh(partitions(4)).await);
    for round in 0..8 {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let harness = Arc::clone(&harness);
                tokio::spawn(async move {
                    let mut ids: Vec<_> = (0..5).map(|n| format!("{round}-{n}")).collect();
                    ids.rotate_left(task % 5);
                    let drafts: Vec<_> = ids.iter().map(|id| plain(task).id(id)).collect();
                    enqueue_results(harness.as_ref(), &drafts).await
                })
            })
            .collect();
        let mut new = Vec::new();
        for task in tasks {
            let results = task.await.expect("no writer panics");
            new.extend(results.into_iter().filter(|one| !one.is_duplicate()));
        }
        let mut new: Vec<_> = new.iter().map(|one| one.id().to_string()).collect();
        new.sort_unstable();
        let expected: Vec<_> = (0..5).map(|n| format!("{round}-{n}")).collect();
        assert_eq!(new, expected, "each id is new once");
        let store = harness.store().as_ref();
        assert_eq!(entries(store).await.len(), (round + 1) * 5);
        for id in new {
            let id = MessageId::new(&id).expect("a valid id");
            assert_eq!(state(store, &id).await, State::Pending);
        }
    }
}

/// A task that enqueues `x` in a transaction of its own, again while it is refused.
fn second_writer<H: Harness>(harness: &Arc<H>) -> tokio::task::JoinHandle<Vec<Enqueued>> {
    let harness = Arc::clone(harness);
    let drafts = [plain("second").id("x")];
    tokio::spawn(async move { enqueue_results(harness.as_ref(), &drafts).await })
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).expect("a valid id")
}
