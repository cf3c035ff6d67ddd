//! Calls of the inbox that are dropped at each of their polls: whole or nothing.

use iobox_core::store::{Enqueue, Ingest, Ingested, Receive, Settled, Store, Transact};

use super::{
    ingest::{NEW, ingest, pending, reading, request},
    support::{Worker, delivery, receive, source, stats, subscribe},
};
use crate::{
    poll_n_then_drop,
    suite::{
        Harness,
        polled::POLLS,
        support::{entries, partitions, plain},
    },
};

/// A reception that is dropped at any of its polls stores all of its messages or none; repeated it stores
/// what is not there.
pub async fn a_reception_dropped_at_any_poll_is_whole_or_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let another = harness.another().await;
    for n in 0..=POLLS {
        let two = ["a", "b"].map(|id| delivery("t", &format!("{n}-{id}"), "k"));
        let before = 2 * u64::try_from(n).expect("a small number");
        let received = poll_n_then_drop(store.receive(&source(), &two), n).await;
        let there = stats(another.as_ref(), "a").await.unsettled() - before;
        assert!(there == 0 || there == 2, "{there} of 2 messages");
        if let Some(received) = received {
            assert_eq!(received.expect("receive"), [NEW; 2]);
            assert_eq!(there, 2, "a reception is lost");
        }
        // Whatever is under way ends before this does.
        let again = receive(store, &two).await;
        assert_eq!(again[0].is_duplicate(), again[1].is_duplicate());
        let there = stats(another.as_ref(), "a").await.unsettled();
        assert_eq!(there, before + 2);
    }
}

/// An ingest that is dropped at any of its polls stores its messages if and only if it moves the position.
pub async fn an_ingest_dropped_at_any_poll_is_whole_or_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let another = harness.another().await;
    let mut from = String::new();
    for n in 0..=POLLS {
        let (to, one) = (n.to_string(), format!("{n}-b"));
        let two = request(epoch, &from, &to, &[&to, &one]);
        let ingested = poll_n_then_drop(store.ingest(&source(), &two), n).await;
        if let Some(ingested) = ingested {
            assert_eq!(ingested.expect("ingest"), Ingested::Stored(vec![NEW; 2]));
        }
        // Whatever is under way ends before this does.
        let again = ingest(store, &two).await;
        assert!(
            again == Ingested::Already || again == Ingested::Stored(vec![NEW; 2]),
            "{again:?}"
        );
        let all = 2 * u64::try_from(n + 1).expect("a small number");
        assert_eq!(pending(another.as_ref()).await, all);
        from = to;
    }
}

/// A handling that is dropped at any of its polls, from the begin to the commit, commits its effect and its
/// mark or neither; whoever handles the message again finds out which.
pub async fn a_handling_dropped_at_any_poll_is_whole_or_nothing<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let worker = Worker::new(store, "a").await;
    let another = harness.another().await;
    for n in 0..=POLLS {
        receive(store, &[delivery("t", &n.to_string(), "k")]).await;
        let row = worker.fetch().await.remove(0);
        let success = worker.success(&row);
        let handle = || async {
            let mut tx = store.begin_handling().await?;
            store.enqueue(&mut tx, &[plain("effect")]).await?;
            let marked = store.mark(&mut tx, worker.store(), &success).await?;
            if marked == Settled::Applied {
                store.commit_handling(tx).await?;
            }
            Ok::<Settled, iobox_core::Error>(marked)
        };
        let handled = poll_n_then_drop(handle(), n).await;
        let again = handle().await.expect("a handling");
        if let Some(handled) = handled {
            assert_eq!(handled.expect("a handling"), Settled::Applied);
            assert_eq!(again, Settled::Superseded, "a commit is lost");
        }
        assert_ne!(again, Settled::LeaseLost);
        let effects = entries(another.as_ref()).await.len();
        assert_eq!(effects, n + 1, "one effect for each message");
        // The settle of somebody who did not hear of the commit finds it recorded.
        let settled = worker.store().settle(&[success]).await.expect("settle");
        assert_eq!(settled, [Settled::Applied]);
        assert_eq!(stats(another.as_ref(), "a").await.unsettled(), 0);
    }
}
