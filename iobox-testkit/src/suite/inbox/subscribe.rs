//! Subscribing: who gets a message is decided by rows, and nothing is lost between two programs.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    ErrorKind,
    inbox::Received,
    store::{Receive, Subscribe},
};

use super::receive::id_of;
use super::support::{Worker, delivery, name, receive, source, stats, subscribe, subscription};
use crate::suite::{Harness, support::partitions};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A message of a topic that nobody is subscribed to is kept and counted.
pub async fn a_message_that_nobody_wants_is_kept<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("orders.>", "a")]).await;
    let one = [delivery("bills.paid", "1", "")];
    assert_eq!(receive(store, &one).await, [Received::New { handlers: 0 }]);
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
    assert_eq!(store.unrouted().await.expect("a count"), 1);
    assert_eq!(stats(store, "a").await.pending, 0);
}

/// A kept message goes to whoever subscribes to its topic next, before what is received later.
pub async fn a_kept_message_goes_to_the_next_subscriber<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let all = ["1", "2", "3"].map(|id| delivery("t", id, "k"));
    receive(store, &all).await;
    receive(store, &[delivery("other", "4", "")]).await;
    subscribe(store, &[("t", "a"), ("t", "b")]).await;
    assert_eq!(store.unrouted().await.expect("a count"), 1);
    receive(store, &[delivery("t", "5", "k")]).await;
    for handler in ["a", "b"] {
        let rows = Worker::new(store, handler).await.fetch().await;
        assert_eq!(rows.len(), 4);
        assert!(rows.is_sorted_by_key(|row| row.seq));
    }
    // Also to one that has messages of the same key already.
    subscribe(store, &[("u", "c")]).await;
    receive(store, &[delivery("kept", "6", "k")]).await;
    receive(store, &[delivery("u", "7", "k")]).await;
    subscribe(store, &[("kept", "c")]).await;
    let rows = Worker::new(store, "c").await.fetch().await;
    let ids: Vec<_> = rows.iter().map(id_of).collect();
    assert_eq!(ids, ["6", "7"], "in the order in which they were received");
}

/// A message that arrives again adds no rows for handlers that were subscribed since.
pub async fn a_duplicate_adds_no_rows_for_later_handlers<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let one = [delivery("t", "1", "")];
    receive(store, &one).await;
    subscribe(store, &[("t", "b")]).await;
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
    assert_eq!(stats(store, "b").await.pending, 0);
}

/// Subscribing again, also through another handle, changes nothing.
pub async fn subscribing_again_changes_nothing<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let other = harness.another().await;
    for store in [harness.store(), &other, harness.store()] {
        subscribe(store.as_ref(), &[("t", "a"), ("u.*", "a")]).await;
    }
    let found = other.subscriptions().await.expect("subscriptions");
    assert_eq!(found, [subscription("t", "a"), subscription("u.*", "a")]);
    let received = receive(other.as_ref(), &[delivery("t", "1", "")]).await;
    assert_eq!(received, [Received::New { handlers: 1 }]);
}

/// A retired handler gets nothing that is received later, and keeps the rows that it has.
pub async fn a_retired_handler_gets_nothing_more<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a"), ("t", "b")]).await;
    receive(store, &[delivery("t", "1", "")]).await;
    assert!(store.retire(&name("a")).await.expect("retire"));
    assert!(!store.retire(&name("a")).await.expect("retire"));
    let received = receive(store, &[delivery("t", "2", "")]).await;
    assert_eq!(received, [Received::New { handlers: 1 }]);
    assert_eq!(stats(store, "a").await.pending, 1);
    assert_eq!(stats(store, "b").await.pending, 2);
}

/// The queue of a handler that was never subscribed is refused.
pub async fn an_unknown_handler_has_no_queue<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let error = harness.store().queue_of(&name("nobody")).await;
    assert_eq!(error.expect_err("unknown").kind(), ErrorKind::Invalid);
}

/// A subscription that is made while messages are received misses none of them: each was kept
/// before it and handed over, or is stored for it.
pub async fn a_subscription_that_races_with_receptions_misses_nothing<H: Harness>()
where
    H::Store: Receive,
{
    const TASKS: usize = 4;
    const EACH: usize = 50;
    let harness = H::fresh(partitions(4)).await;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let store = Arc::clone(harness.store());
        tasks.push(tokio::spawn(async move {
            for n in 0..EACH {
                let one = [delivery("t", &format!("{task}-{n}"), "")];
                while let Err(error) = store.receive(&source(), &one).await {
                    assert!(error.is_retryable(), "{error}");
                }
            }
        }));
    }
    let other = harness.another().await;
    for handler in ["a", "b", "c"] {
        while let Err(error) = other.subscribe(&[subscription("t", handler)]).await {
            assert!(error.is_retryable(), "{error}");
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let all = u64::try_from(TASKS * EACH).expect("small");
    assert_eq!(other.unrouted().await.expect("a count"), 0);
    assert_eq!(stats(other.as_ref(), "a").await.pending, all);
}

/// What nobody is subscribed to stays for a retention of its own.
pub async fn unrouted_messages_have_a_retention_of_their_own<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    receive(store, &[delivery("t", "1", "")]).await;
    harness.advance(DAY * 8).await;
    assert_eq!(
        store
            .purge_received(DAY * 7, DAY * 30, 10)
            .await
            .expect("purge"),
        0
    );
    assert_eq!(store.unrouted().await.expect("a count"), 1);
    harness.advance(DAY * 23).await;
    assert_eq!(
        store
            .purge_received(DAY * 7, DAY * 30, 10)
            .await
            .expect("purge"),
        1
    );
    assert_eq!(store.unrouted().await.expect("a count"), 0);
}
