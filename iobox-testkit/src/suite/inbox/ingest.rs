//! Ingesting: what was read and the position behind it are stored together.

use iobox_core::{
    ErrorKind,
    inbox::{Delivery, Received, SourceName},
    message::{Draft, Limits},
    source::Position,
    store::{Change, Epoch, Ingest, IngestRequest, Ingested, Settled, Store, Subscribe, Verdict},
};

use super::support::{Worker, delivery, messages, name, receive, source, stats, subscribe};
use crate::suite::{
    Harness,
    support::{LATER, partitions},
};

pub(super) const NEW: Received = Received::New { handlers: 1 };

pub(super) fn position(text: &str) -> Position {
    Position::new(text).expect("a position")
}

/// A request that moves a source between two positions, of which an empty one is none, and stores
/// messages of topic `t` with these ids and one key.
pub(super) fn request(epoch: Epoch, from: &str, to: &str, ids: &[&str]) -> IngestRequest {
    IngestRequest {
        epoch,
        from: (!from.is_empty()).then(|| position(from)),
        to: position(to),
        deliveries: ids.iter().map(|id| delivery("t", id, "k")).collect(),
    }
}

/// Ingests from the source of every case; a call that did not take effect is repeated.
pub(super) async fn ingest<S: Ingest>(store: &S, request: &IngestRequest) -> Ingested {
    loop {
        match store.ingest(&source(), request).await {
            Ok(ingested) => return ingested,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

pub(super) async fn stands<S: Ingest>(store: &S) -> String {
    let position = store.position(&source()).await.expect("a position");
    position.map_or_else(String::new, |position| position.to_string())
}

pub(super) async fn pending<S: Ingest>(store: &S) -> u64 {
    stats(store, "a").await.pending
}

/// A store with handler `a` of topic `t`, and the epoch of an instance that may read the source.
pub(super) async fn reading<H: Harness>() -> (H, Epoch)
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let holder = Worker::reading(store, &source()).await;
    let epoch = holder.epoch().expect("the right is free");
    (harness, epoch)
}

/// What was read is stored for every handler, and the position of the source moves with it.
pub async fn a_batch_and_its_position_commit_together<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "b")]).await;
    assert_eq!(stands(store).await, "");
    let two = Received::New { handlers: 2 };
    let first = request(epoch, "", "1", &["1", "2"]);
    assert_eq!(ingest(store, &first).await, Ingested::Stored(vec![two; 2]));
    let second = request(epoch, "1", "2", &["3"]);
    assert_eq!(ingest(store, &second).await, Ingested::Stored(vec![two]));
    let other = harness.another().await;
    assert_eq!(stands(other.as_ref()).await, "2");
    for handler in ["a", "b"] {
        assert_eq!(stats(other.as_ref(), handler).await.pending, 3, "{handler}");
    }
    let rows = messages(&Worker::new(store, "a").await.fetch().await);
    assert_eq!(rows, ["1", "2", "3"]);
}

/// A call that is repeated because its reply was lost is known, and stores nothing more.
pub async fn a_repeated_ingest_is_known<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let first = request(epoch, "", "1", &["1"]);
    let second = request(epoch, "1", "2", &["2"]);
    for request in [&first, &second] {
        assert_eq!(ingest(store, request).await, Ingested::Stored(vec![NEW]));
        assert_eq!(ingest(store, request).await, Ingested::Already);
    }
    let elsewhere = Ingested::Elsewhere(Some(position("2")));
    assert_eq!(ingest(store, &first).await, elsewhere);
    assert_eq!(pending(store).await, 2);
}

/// When the source does not stand where the caller began, nothing is stored.
pub async fn an_ingest_from_elsewhere_stores_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let ahead = request(epoch, "1", "2", &["2"]);
    assert_eq!(ingest(store, &ahead).await, Ingested::Elsewhere(None));
    assert_eq!((stands(store).await, pending(store).await), ("".into(), 0));
    let first = request(epoch, "", "1", &["1"]);
    assert_eq!(ingest(store, &first).await, Ingested::Stored(vec![NEW]));
    for from in ["", "0"] {
        let behind = request(epoch, from, "2", &["3"]);
        let elsewhere = Ingested::Elsewhere(Some(position("1")));
        assert_eq!(ingest(store, &behind).await, elsewhere);
    }
    assert_eq!((stands(store).await, pending(store).await), ("1".into(), 1));
    assert_eq!(ingest(store, &ahead).await, Ingested::Stored(vec![NEW]));
}

/// Two sources stand apart: one position says nothing of the other, and the same id from both is two
/// messages.
pub async fn positions_of_sources_are_apart<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let elsewhere = SourceName::new("elsewhere").expect("a source");
    let theirs = Worker::reading(store, &elsewhere).await;
    let theirs = theirs.epoch().expect("the right is free");
    let first = request(epoch, "", "5", &["1"]);
    assert_eq!(ingest(store, &first).await, Ingested::Stored(vec![NEW]));
    assert_eq!(store.position(&elsewhere).await.expect("a position"), None);
    let second = request(theirs, "", "7", &["1"]);
    let ingested = store.ingest(&elsewhere, &second).await.expect("a reply");
    assert_eq!(ingested, Ingested::Stored(vec![NEW]));
    assert_eq!(stands(store).await, "5");
    let theirs = store.position(&elsewhere).await.expect("a position");
    assert_eq!(theirs, Some(position("7")));
    assert_eq!(pending(store).await, 2);
}

/// A batch without messages moves the position: what was read held nothing that can be stored.
pub async fn an_empty_batch_moves_the_position<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    let empty = request(epoch, "", "1", &[]);
    assert_eq!(ingest(store, &empty).await, Ingested::Stored(Vec::new()));
    assert_eq!(ingest(store, &empty).await, Ingested::Already);
    assert_eq!((stands(store).await, pending(store).await), ("1".into(), 0));
}

/// When one message of a batch breaks a bound nothing of the batch is stored, and the position stays.
pub async fn a_batch_that_breaks_a_bound_moves_nothing<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    assert_eq!(store.limits().payload_max(), Limits::PAYLOAD_DEFAULT);
    let large = Draft::new("t", vec![0_u8; Limits::PAYLOAD_DEFAULT + 1]).id("large");
    let large = Delivery::foreign(&large).expect("it is within the largest limit");
    let mut batch = request(epoch, "", "1", &["1"]);
    batch.deliveries.push(large);
    let error = store
        .ingest(&source(), &batch)
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((stands(store).await, pending(store).await), ("".into(), 0));
    batch.deliveries.truncate(1);
    assert_eq!(ingest(store, &batch).await, Ingested::Stored(vec![NEW]));
}

/// A message that is known already, or comes twice in a batch, adds nothing, and the position moves on.
pub async fn a_duplicate_in_a_batch_adds_nothing_and_moves_on<H: Harness>()
where
    H::Store: Ingest,
{
    let (harness, epoch) = reading::<H>().await;
    let store = harness.store().as_ref();
    receive(store, &[delivery("t", "1", "k")]).await;
    let batch = request(epoch, "", "1", &["1", "2", "2"]);
    let known = Received::Duplicate;
    let wanted = Ingested::Stored(vec![known, NEW, known]);
    assert_eq!(ingest(store, &batch).await, wanted);
    let wanted = Ingested::Stored(vec![known]);
    assert_eq!(
        ingest(store, &request(epoch, "1", "2", &["2"])).await,
        wanted
    );
    assert_eq!((stands(store).await, pending(store).await), ("2".into(), 2));
}

/// The backlog of a handler is what is pending or retrying, counted up to the limit; what waits for
/// something of its key, and what is settled, does not count.
pub async fn the_backlog_counts_what_is_ready<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a"), ("t", "b")]).await;
    let mut all: Vec<_> = ["k1", "k2", "k3"].map(|id| delivery("t", id, "k")).into();
    all.extend(["1", "2", "3", "4", "5"].map(|id| delivery("t", id, "")));
    receive(store, &all).await;
    let worker = Worker::new(store, "a").await;
    let of = worker.store();
    let backlog = async |limit| of.backlog(limit).await.expect("a count");
    assert_eq!((backlog(100).await, backlog(3).await), (8, 3));
    let rows = worker.fetch().await;
    let mut later = worker.success(&rows[0]);
    later.change = Change::Verdict(Verdict::Retry {
        after: LATER,
        reason: "not yet".into(),
    });
    let done = worker.success(rows.last().expect("a row"));
    let settled = of.settle(&[later, done]).await.expect("settle");
    assert_eq!(settled, [Settled::Applied; 2]);
    // What is behind it is in the way now, and set aside.
    worker.fetch().await;
    let stats = stats(store, "a").await;
    assert_eq!((stats.pending, stats.retrying, stats.waiting), (4, 1, 2));
    assert_eq!((backlog(100).await, backlog(4).await), (5, 4));
    let other = store.queue_of(&name("b")).await.expect("a queue");
    assert_eq!(other.backlog(100).await.expect("a count"), 8);
}
