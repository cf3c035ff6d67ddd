//! Late commits: a lower seq that becomes visible after a higher one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use iobox_core::{
    message::{Draft, MessageId},
    store::{Enqueued, State},
};

use super::{
    Harness, OpenTransaction,
    support::{
        Instance, LATER, done, enqueue, entries, keyed, labels, partitions, plain, retry, states,
    },
};

/// A message that is not committed is not fetched, and is as soon as it is.
///
/// Where one transaction at a time may write, only the commit is checked.
pub async fn a_message_exists_from_its_commit_on<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("a")]).await.expect("enqueue");
    if H::CONCURRENT_WRITERS {
        assert!(one.fetch().await.pending.is_empty());
        assert!(entries(harness.store().as_ref()).await.is_empty());
    }
    open.commit().await.expect("commit");
    assert_eq!(labels(&one.fetch().await), ["a"]);
}

/// The messages of a transaction that was rolled back never appear.
pub async fn rolled_back_messages_never_appear<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("never"), keyed("k", "never").id("x")])
        .await
        .expect("enqueue");
    open.rollback().await.expect("rollback");
    enqueue(&harness, &[keyed("k", "a")]).await;
    assert_eq!(labels(&one.fetch().await), ["a"]);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// The messages of a transaction that was dropped never appear.
pub async fn messages_of_a_dropped_transaction_never_appear<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("never")]).await.expect("enqueue");
    drop(open);
    enqueue(&harness, &[plain("a")]).await;
    assert_eq!(labels(&one.fetch().await), ["a"]);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// A message that commits late, with a lower seq than one that is done already, is delivered.
///
/// Where one transaction at a time may write, the second must wait or be refused instead.
pub async fn a_late_commit_is_delivered<H: Harness>() {
    if !H::CONCURRENT_WRITERS {
        return the_second_writer_waits::<H>().await;
    }
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let late = open_late(&harness, &[plain("late")]).await;
    enqueue(&harness, &[plain("early")]).await;
    let early = one.one().await;
    one.apply(&early, done()).await;
    late.0.commit().await.expect("commit");
    let row = one.one().await;
    assert_eq!(super::support::label(&row), "late");
    assert!(
        row.seq < early.seq,
        "seqs are drawn when a message is enqueued"
    );
    one.apply(&row, done()).await;
}

/// A message that commits late is delivered although later ones of its key retry or wait.
///
/// Where one transaction at a time may write, the second must wait or be refused instead.
pub async fn a_late_commit_is_not_blocked_by_later_messages<H: Harness>() {
    if !H::CONCURRENT_WRITERS {
        return the_second_writer_waits::<H>().await;
    }
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let late = open_late(&harness, &[keyed("k", "late")]).await;
    enqueue(&harness, &[keyed("k", "retries"), keyed("k", "waits")]).await;
    one.apply(&one.fetch().await.pending[0], retry(LATER)).await;
    one.fetch().await;
    late.0.commit().await.expect("commit");
    assert_eq!(labels(&one.fetch().await), ["late"]);
}

/// A message that commits late comes before the followers of its key that are released.
///
/// Where one transaction at a time may write, the second must wait or be refused instead.
pub async fn a_late_commit_comes_before_released_followers<H: Harness>() {
    if !H::CONCURRENT_WRITERS {
        return the_second_writer_waits::<H>().await;
    }
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[keyed("k", "head")]).await;
    one.apply(&one.one().await, retry(LATER)).await;
    let late = open_late(&harness, &[keyed("k", "late")]).await;
    enqueue(&harness, &[keyed("k", "after")]).await;
    one.fetch().await;
    harness.advance(LATER * 2).await;
    one.apply(&one.one().await, done()).await;
    late.0.commit().await.expect("commit");
    assert_eq!(labels(&one.sweep().await), ["late", "after"]);
}

/// A seq that was drawn and rolled back is not waited for, and not reused.
pub async fn a_rolled_back_seq_leaves_a_gap<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let mut open = harness.begin().await.expect("begin");
    open.enqueue(&[plain("never")]).await.expect("enqueue");
    open.rollback().await.expect("rollback");
    enqueue(&harness, &[plain("b")]).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["a", "b"]);
    assert!(fetched.pending[0].seq < fetched.pending[1].seq);
}

/// Opens a transaction with `drafts` in it, and returns it with the ids.
async fn open_late<H: Harness>(harness: &H, drafts: &[Draft]) -> (H::Open, Vec<MessageId>) {
    let mut open = harness.begin().await.expect("begin");
    let results = open.enqueue(drafts).await.expect("enqueue");
    let ids = results
        .iter()
        .map(|one: &Enqueued| one.id().clone())
        .collect();
    (open, ids)
}

/// Checks that a second transaction does not begin while one is open, so that no commit is late.
async fn the_second_writer_waits<H: Harness>() {
    let harness = Arc::new(H::fresh(partitions(1)).await);
    let mut first = harness.begin().await.expect("begin");
    first.enqueue(&[plain("first")]).await.expect("enqueue");
    let closing = Arc::new(AtomicBool::new(false));
    let second = tokio::spawn({
        let (harness, closing) = (Arc::clone(&harness), Arc::clone(&closing));
        async move {
            loop {
                match harness.begin().await {
                    Ok(mut open) => {
                        let overlaps = !closing.load(Ordering::SeqCst);
                        assert!(!overlaps, "two transactions that write are open");
                        open.enqueue(&[plain("second")]).await.expect("enqueue");
                        return open.commit().await.expect("commit");
                    }
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    });
    for n in 0..50 {
        first.enqueue(&[plain(n)]).await.expect("enqueue");
        tokio::task::yield_now().await;
    }
    closing.store(true, Ordering::SeqCst);
    first.commit().await.expect("commit");
    second.await.expect("the second writer does not panic");
    let one = Instance::owner(harness.store()).await;
    let labels = labels(&one.fetch().await);
    assert_eq!(labels.len(), 52);
    assert_eq!(labels.last().map(String::as_str), Some("second"));
}
