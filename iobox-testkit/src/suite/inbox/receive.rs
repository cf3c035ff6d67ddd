//! Receiving: every message is stored once.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use iobox_core::{
    ErrorKind,
    inbox::{Delivery, Received, SourceName},
    message::{Draft, Headers, Limits, Message, MessageId, OrderingKey, Origin, Topic},
    store::{Admin, Body, Pending, Receive, Settled, Store, Subscribe, Transact},
};
use uuid::Uuid;

use super::support::{Worker, delivery, messages, queue, receive, source, stats, subscribe};
use crate::suite::{Harness, support::partitions};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A message is stored once, with one row for each handler that is subscribed to its topic.
pub async fn a_message_is_stored_once_for_each_handler<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let all = [
        ("orders.*", "a"),
        ("orders.created", "b"),
        ("orders.>", "b"),
        ("bills.>", "c"),
    ];
    subscribe(store, &all).await;
    let one = [delivery("orders.created", "1", "")];
    assert_eq!(receive(store, &one).await, [Received::New { handlers: 2 }]);
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
    for (handler, count) in [("a", 1), ("b", 1), ("c", 0)] {
        assert_eq!(stats(store, handler).await.pending, count, "{handler}");
    }
}

/// A message that comes twice in one call is stored once.
pub async fn a_message_that_comes_twice_in_one_call_is_stored_once<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[(">", "a")]).await;
    let new = Received::New { handlers: 1 };
    let one = delivery("t", "1", "");
    let received = receive(store, &[one.clone(), delivery("t", "2", ""), one]).await;
    assert_eq!(received, [new, new, Received::Duplicate]);
    assert_eq!(stats(store, "a").await.pending, 2);
}

/// The same id from another source, or of another origin, is another message.
pub async fn an_id_of_another_source_or_origin_is_another_message<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[(">", "a")]).await;
    let of = |origin| {
        Delivery::new(Message::new(
            origin,
            MessageId::new("1").expect("an id"),
            Topic::new("t").expect("a topic"),
            None,
            Headers::new(),
            "x".into(),
        ))
    };
    let other = Origin::new(Uuid::from_u128(7));
    let new = Received::New { handlers: 1 };
    let both = [of(Origin::FOREIGN), of(other)];
    assert_eq!(receive(store, &both).await, [new, new]);
    let elsewhere = SourceName::new("elsewhere").expect("a source");
    let received = store.receive(&elsewhere, &both).await.expect("receive");
    assert_eq!(received, [new, new]);
    assert_eq!(stats(store, "a").await.pending, 4);
}

/// When many receive the same messages at once, each message is new to one of them.
pub async fn racing_receptions_store_every_message_once<H: Harness>()
where
    H::Store: Receive,
{
    const IDS: usize = 100;
    let harness = H::fresh(partitions(4)).await;
    subscribe(harness.store().as_ref(), &[(">", "a"), ("t", "b")]).await;
    let mut tasks = Vec::new();
    for task in 0..8 {
        let store = if task % 2 == 0 {
            std::sync::Arc::clone(harness.store())
        } else {
            harness.another().await
        };
        tasks.push(tokio::spawn(async move {
            let mut new = BTreeMap::<String, usize>::new();
            for round in 0..2 * IDS / 10 {
                let ids: Vec<_> = (0..10).map(|n| (round * 7 + task + n * 13) % IDS).collect();
                let all: Vec<_> = ids
                    .iter()
                    .map(|id| delivery("t", &id.to_string(), ""))
                    .collect();
                let received = loop {
                    match store.receive(&source(), &all).await {
                        Ok(received) => break received,
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                };
                for (id, received) in ids.iter().zip(received) {
                    *new.entry(id.to_string()).or_default() +=
                        usize::from(!received.is_duplicate());
                }
            }
            new
        }));
    }
    let mut new = BTreeMap::<String, usize>::new();
    for task in tasks {
        for (id, count) in task.await.expect("no panic") {
            *new.entry(id).or_default() += count;
        }
    }
    assert!(new.values().all(|count| *count == 1), "{new:?}");
    for handler in ["a", "b"] {
        let pending = stats(harness.store().as_ref(), handler).await.pending;
        assert_eq!(usize::try_from(pending).expect("small"), new.len());
    }
}

/// Rows come in the order in which their deliveries were received.
pub async fn deliveries_keep_their_order<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let ids: Vec<_> = (0..100).map(|n| format!("{n:03}")).collect();
    for chunk in ids.chunks(30) {
        let all: Vec<_> = chunk.iter().map(|id| delivery("t", id, "k")).collect();
        receive(store, &all).await;
    }
    let rows = Worker::new(store, "a").await.fetch().await;
    assert_eq!(messages(&rows), ids);
}

/// When one delivery of a call breaks a bound nothing of the call is stored.
pub async fn a_delivery_that_breaks_a_bound_stores_nothing<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let large = Draft::new("t", vec![0_u8; Limits::PAYLOAD_DEFAULT + 1]).id("large");
    let large = Delivery::foreign(&large).expect("it is within the largest limit");
    let received = store
        .receive(&source(), &[delivery("t", "1", ""), large])
        .await;
    assert_eq!(received.expect_err("too large").kind(), ErrorKind::Invalid);
    assert_eq!(stats(store, "a").await.pending, 0);
    let again = receive(store, &[delivery("t", "1", "")]).await;
    assert_eq!(again, [Received::New { handlers: 1 }]);
}

/// What is received in a transaction is stored if and only if it commits.
pub async fn a_reception_in_a_transaction_follows_it<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let one = [delivery("t", "1", "")];
    for (commits, pending) in [(false, 0), (true, 1)] {
        let mut tx = store.begin_handling().await.expect("begin");
        let received = store.receive_in(&mut tx, &source(), &one).await;
        assert_eq!(received.expect("receive"), [Received::New { handlers: 1 }]);
        if commits {
            store.commit_handling(tx).await.expect("commit");
        } else {
            drop(tx);
        }
        assert_eq!(stats(store, "a").await.pending, pending);
    }
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
}

/// A message is known for the horizon after its reception, also when its rows are gone, and is
/// forgotten after that.
pub async fn a_message_is_known_for_its_horizon<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let one = [delivery("t", "1", "")];
    receive(store, &one).await;
    let worker = Worker::new(store, "a").await;
    let rows = worker.fetch().await;
    let settled = worker.store().settle(&[worker.success(&rows[0])]).await;
    assert_eq!(settled.expect("settle"), [Settled::Applied]);
    harness.advance(DAY).await;
    let minute = Duration::from_secs(60);
    let removed = worker.store().purge(&queue("a"), minute, 1_000).await;
    assert_eq!(removed.expect("purge"), 1);
    assert_eq!(
        store
            .purge_received(DAY * 7, DAY * 7, 10)
            .await
            .expect("purge"),
        0
    );
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
    harness.advance(DAY * 7).await;
    assert_eq!(
        store
            .purge_received(DAY * 7, DAY * 7, 10)
            .await
            .expect("purge"),
        1
    );
    assert_eq!(receive(store, &one).await, [Received::New { handlers: 1 }]);
}

/// The date of an event orders nothing and removes nothing: messages come in the order in which they were
/// received, and one of an event of long ago is handled, and known, as any other.
pub async fn an_event_date_orders_and_removes_nothing<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let dated = |topic: &str, id: &str, at: SystemTime| delivery(topic, id, "k").occurred_at(at);
    let (epoch, later) = (SystemTime::UNIX_EPOCH, DAY * 365 * 200);
    let all = [
        dated("t", "future", epoch + later),
        dated("t", "past", epoch + DAY),
        dated("t", "before", epoch - DAY),
        dated("nobody", "kept", epoch - DAY),
    ];
    receive(store, &all).await;
    harness.advance(DAY).await;
    let purged = async || {
        let purged = store.purge_received(DAY * 7, DAY * 7, 10).await;
        purged.expect("purge")
    };
    assert_eq!(purged().await, 0);
    let worker = Worker::new(store, "a").await;
    let old = worker.store().purge(&queue("a"), DAY / 2, 1_000).await;
    assert_eq!(old.expect("purge"), 0);
    let rows = worker.fetch().await;
    let ids: Vec<_> = rows.iter().map(id_of).collect();
    assert_eq!(ids, ["future", "past", "before"]);
    let settled: Vec<_> = rows.iter().map(|row| worker.success(row)).collect();
    let settled = worker.store().settle(&settled).await;
    assert_eq!(settled.expect("settle"), [Settled::Applied; 3]);
    harness.advance(DAY).await;
    let old = worker.store().purge(&queue("a"), DAY / 2, 1_000).await;
    assert_eq!(old.expect("purge"), 3);
    assert_eq!(purged().await, 0);
    assert_eq!(receive(store, &all).await, [Received::Duplicate; 4]);
    assert_eq!(store.unrouted().await.expect("a count"), 1);
}

pub(super) fn id_of(row: &Pending) -> String {
    match &row.body {
        Body::Message(message) => message.id().to_string(),
        Body::Corrupt(reason) => panic!("{reason}"),
    }
}

/// Ids are what their producers say, up to 255 bytes: of a stream, a sequence, in any script. Each is
/// known, and no other for it.
pub async fn ids_of_any_producer_are_known<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let ids = [
        "1700000000000-0".to_owned(),
        "1700000000000-00".to_owned(),
        "orders:42:created".to_owned(),
        "Orders:42:created".to_owned(),
        " ".to_owned(),
        "請求書 7".to_owned(),
        "f".repeat(37),
        "f".repeat(255),
        "ü".repeat(127),
    ];
    let all = ids.each_ref().map(|id| delivery("t", id, ""));
    let new = Received::New { handlers: 1 };
    assert_eq!(receive(store, &all).await, [new; 9]);
    assert_eq!(receive(store, &all).await, [Received::Duplicate; 9]);
    let mut got: Vec<_> = Worker::new(store, "a").await.fetch().await;
    got.sort_unstable_by_key(|row| row.seq);
    assert_eq!(got.iter().map(id_of).collect::<Vec<_>>(), ids);
}

/// A message of which a handler still has a row is never forgotten.
pub async fn a_message_with_rows_is_not_forgotten<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let one = [delivery("t", "1", "")];
    receive(store, &one).await;
    harness.advance(DAY * 400).await;
    assert_eq!(store.purge_received(DAY, DAY, 10).await.expect("purge"), 0);
    assert_eq!(receive(store, &one).await, [Received::Duplicate]);
    assert_eq!(Worker::new(store, "a").await.fetch().await.len(), 1);
}

/// A handler gets every part of a message as it was received: origin, id, topic, key, headers and
/// any bytes of the payload.
pub async fn the_content_of_a_message_comes_back<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t.*", "a")]).await;
    let origin = Origin::new(Uuid::from_u128(0x1234));
    let headers = vec![
        ("b".to_owned(), "ü".to_owned()),
        ("a".to_owned(), String::new()),
    ];
    let sent = Message::new(
        origin,
        MessageId::new("id-1").expect("an id"),
        Topic::new("t.x").expect("a topic"),
        Some(OrderingKey::new("key").expect("a key")),
        Headers::from_pairs(headers).expect("headers"),
        vec![0, 255, 10, 0].into(),
    );
    receive(store, &[sent.clone().into()]).await;
    let rows = Worker::new(store, "a").await.fetch().await;
    let Body::Message(got) = &rows[0].body else {
        panic!("the row can be read");
    };
    assert_eq!(got.wire_id(), sent.wire_id());
    assert_eq!((got.topic(), got.key()), (sent.topic(), sent.key()));
    assert_eq!(
        (got.headers(), got.payload()),
        (sent.headers(), sent.payload())
    );
    assert_eq!(store.subscriptions().await.expect("subscriptions").len(), 1);
}
