//! Taking over the right to read: whatever happens meanwhile, each message is stored once.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    inbox::SourceName,
    store::{Epoch, Ingest, Ingested, Receive, Subscribe},
};
use tokio::{sync::watch, time::timeout};

use super::{
    ingest::{NEW, ingest, pending, position, reading, request, stands},
    support::{Worker, messages, source, stats, subscription},
};
use crate::suite::{
    Harness,
    support::{TTL, partitions},
};

/// Waits until the right to read is taken from whoever had it.
async fn take_over<H: Harness>(harness: &H, store: &H::Store) -> Epoch
where
    H::Store: Ingest,
{
    loop {
        harness.advance(TTL * 2).await;
        if let Some(epoch) = Worker::reading(store, &source()).await.epoch() {
            return epoch;
        }
    }
}

/// Under an epoch that is not the current one nothing is stored, wherever the source stands; nor by
/// somebody who never had the right to read.
pub async fn an_ingest_of_an_older_epoch_stores_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, old) = reading::<H>().await;
    let store = harness.store().as_ref();
    let first = request(old, "", "1", &["1"]);
    assert_eq!(ingest(store, &first).await, Ingested::Stored(vec![NEW]));
    let new = take_over(&harness, store).await;
    for (from, to) in [("1", "2"), ("", "1"), ("7", "8")] {
        for epoch in [old, Epoch(0), Epoch(new.0 + 1)] {
            let stale = request(epoch, from, to, &["2"]);
            assert_eq!(ingest(store, &stale).await, Ingested::LeaseLost);
        }
    }
    assert_eq!((stands(store).await, pending(store).await), ("1".into(), 1));
    let second = request(new, "1", "2", &["2"]);
    assert_eq!(ingest(store, &second).await, Ingested::Stored(vec![NEW]));
    let nobody = SourceName::new("nobody").expect("a source");
    let ingested = store.ingest(&nobody, &request(new, "", "1", &["1"])).await;
    assert_eq!(ingested.expect("a reply"), Ingested::LeaseLost);
}

/// When somebody takes the right to read over while its holder ingests, one of both moves the source
/// from where it stands, and the rows are those of the one that did.
pub async fn a_takeover_while_an_ingest_is_open<H: Harness>()
where
    H::Store: Ingest,
{
    const ROUNDS: usize = 30;
    let (harness, mut old) = reading::<H>().await;
    let other = harness.another().await;
    let (mut from, mut stored) = (String::new(), Vec::new());
    for round in 0..ROUNDS {
        let (mine, theirs) = (format!("{round}-old"), format!("{round}-new"));
        let open = {
            let (store, request) = (
                Arc::clone(harness.store()),
                request(old, &from, &mine, &[&mine]),
            );
            tokio::spawn(async move { ingest(store.as_ref(), &request).await })
        };
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        let new = take_over(&harness, other.as_ref()).await;
        let taken = request(new, &from, &theirs, &[&theirs]);
        let taken = ingest(other.as_ref(), &taken).await;
        let winner = match open.await.expect("no panic") {
            Ingested::Stored(_) => {
                let elsewhere = Ingested::Elsewhere(Some(position(&mine)));
                assert_eq!(taken, elsewhere);
                mine
            }
            Ingested::LeaseLost => {
                assert_eq!(taken, Ingested::Stored(vec![NEW]));
                theirs
            }
            ended => panic!("an ingest during a takeover ended with {ended:?}"),
        };
        assert_eq!(stands(other.as_ref()).await, winner);
        stored.push(winner.clone());
        (from, old) = (winner, new);
    }
    let worker = Worker::new(other.as_ref(), "a").await;
    assert_eq!(messages(&worker.fetch().await), stored);
}

/// When many strive for the right to read and take it from each other, every message of the stream is
/// stored once, in its order.
pub async fn racing_holders_store_every_message_once<H: Harness>()
where
    H::Store: Ingest,
{
    const MESSAGES: usize = 120;
    let (harness, _) = reading::<H>().await;
    let takeovers = watch::Sender::new(0_u64);
    let mut holders = Vec::new();
    for task in 0..4 {
        let store = if task % 2 == 0 {
            Arc::clone(harness.store())
        } else {
            harness.another().await
        };
        holders.push(tokio::spawn(hold::<H::Store>(
            store,
            takeovers.subscribe(),
            MESSAGES,
        )));
    }
    while !holders.iter().all(|holder| holder.is_finished()) {
        harness.advance(TTL * 2).await;
        takeovers.send_modify(|count| *count += 1);
        tokio::task::yield_now().await;
    }
    let mut stored = 0;
    for holder in holders {
        stored += holder.await.expect("no panic");
    }
    assert_eq!(stored, MESSAGES);
    let rows = Worker::new(harness.store().as_ref(), "a")
        .await
        .fetch()
        .await;
    let all: Vec<_> = (0..MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(messages(&rows), all);
}

/// Stores a few batches each time that it has the right to read, then one more when somebody may have
/// taken it over. Returns how many messages it stored.
async fn hold<S: Ingest>(store: Arc<S>, mut takeovers: watch::Receiver<u64>, all: usize) -> usize {
    let mut stored = 0;
    loop {
        let holder = Worker::reading(store.as_ref(), &source()).await;
        let from = stands(store.as_ref()).await;
        let mut at = from.parse().unwrap_or(0);
        if at == all {
            return stored;
        }
        let Some(epoch) = holder.epoch() else {
            takeovers.changed().await.expect("the case goes on");
            continue;
        };
        for batch in 0..3 {
            if batch == 2 {
                takeovers.changed().await.expect("the case goes on");
            }
            let to = all.min(at + 1 + batch * 2);
            let ids: Vec<_> = (at..to).map(|n| n.to_string()).collect();
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            let from = if at == 0 {
                String::new()
            } else {
                at.to_string()
            };
            let moved = request(epoch, &from, &to.to_string(), &ids);
            match ingest(store.as_ref(), &moved).await {
                Ingested::Stored(received) => {
                    assert_eq!(received, vec![NEW; ids.len()]);
                    stored += received.len();
                    at = to;
                }
                Ingested::LeaseLost | Ingested::Elsewhere(_) => break,
                Ingested::Already => panic!("nobody else moves a source to the same place"),
            }
            if at == all {
                break;
            }
        }
    }
}

/// The right to read a source is held by one instance; after its expiry by another, under a higher
/// epoch.
pub async fn a_source_has_one_reader<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(16)).await;
    let other = harness.another().await;
    let first = Worker::reading(harness.store().as_ref(), &source()).await;
    let epoch = first.epoch().expect("the right is free");
    let mut second = Worker::reading(other.as_ref(), &source()).await;
    assert_eq!(second.epoch(), None);
    // The other one has not died, but nobody has heard of it for long.
    harness.advance(TTL * 2).await;
    assert!(!second.acquire().await, "it has expired itself");
    let heir = Worker::reading(other.as_ref(), &source()).await;
    assert!(heir.epoch() > Some(epoch));
    let elsewhere = SourceName::new("elsewhere").expect("a source");
    let apart = Worker::reading(other.as_ref(), &elsewhere).await;
    assert!(apart.epoch().is_some(), "another source has another right");
}

/// A subscription that is made while messages are ingested misses none of them: each was kept before it
/// and handed over, or is stored for it.
pub async fn a_subscription_that_races_with_ingests_misses_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    const BATCHES: usize = 60;
    let harness = H::fresh(partitions(4)).await;
    let store = Arc::clone(harness.store());
    let holder = Worker::reading(store.as_ref(), &source()).await;
    let epoch = holder.epoch().expect("the right is free");
    let ingesting = tokio::spawn(async move {
        for batch in 0..BATCHES {
            let from = batch.to_string();
            let from = if batch == 0 { "" } else { &from };
            let ids = [0, 1].map(|n| format!("{batch}-{n}"));
            let to = (batch + 1).to_string();
            let two = request(epoch, from, &to, &[&ids[0], &ids[1]]);
            let stored = ingest(store.as_ref(), &two).await;
            assert!(
                matches!(stored, Ingested::Stored(_) | Ingested::Already),
                "{stored:?}"
            );
        }
    });
    let other = harness.another().await;
    for handler in ["a", "b", "c"] {
        while let Err(error) = other.subscribe(&[subscription("t", handler)]).await {
            assert!(error.is_retryable(), "{error}");
        }
        tokio::task::yield_now().await;
    }
    ingesting.await.expect("no panic");
    let all = u64::try_from(2 * BATCHES).expect("small");
    assert_eq!(other.unrouted().await.expect("a count"), 0);
    assert_eq!(stats(other.as_ref(), "a").await.pending, all);
}

/// An ingest that is dropped is done or not done: its rows are there if and only if the position moved.
pub async fn a_dropped_ingest_is_done_or_not_done<H: Harness>()
where
    H::Store: Ingest,
{
    const ROUNDS: u64 = 40;
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let mut from = String::new();
    for round in 0..ROUNDS {
        let (to, one) = (round.to_string(), format!("{round}-b"));
        let two = request(epoch, &from, &to, &[&to, &one]);
        let limit = Duration::from_micros(round * 60);
        drop(timeout(limit, store.ingest(&source(), &two)).await);
        // Whatever is under way ends before this does.
        let again = ingest(store, &two).await;
        assert!(
            again == Ingested::Already || again == Ingested::Stored(vec![NEW; 2]),
            "{again:?}"
        );
        assert_eq!(pending(store).await, 2 * (round + 1));
        from = to;
    }
}
