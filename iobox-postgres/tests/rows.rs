//! Rows: what cannot be decoded, and what is removed.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::time::Duration;

use iobox_core::{
    message::Draft,
    queue::Queue,
    store::{Admin, Body, Enqueued, Seq, Settled},
};
use iobox_testkit::suite::inbox::support::{delivery, receive};

use crate::support::{DONE, Owner, Schema, connection, enqueue, id, number, run};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_decoded_leave_their_neighbours_alone() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let spoils = [
        "topic = 'a b'",
        "topic = ''",
        "id = ''",
        "id = repeat('x', 300)",
        "headers = 'no json'",
        "headers = '[[\"a\", 1]]'",
        "headers = '{\"nats-msg-id\": \"x\"}'",
        "key = e'a\\nb'",
        "key = ''",
    ];
    let count = spoils.len();
    let drafts: Vec<_> = (0..count * 2)
        .map(|n| {
            Draft::new("t", "x")
                .id(format!("m-{n}"))
                .key(format!("k-{n}"))
        })
        .collect();
    enqueue(&store, &drafts).await;
    let mut person = connection().await;
    for (at, spoil) in spoils.iter().enumerate() {
        let sql = format!(
            "update \"{}\".message set {spoil} where id = 'm-{}'",
            schema.0,
            at * 2
        );
        run(&mut person, sql).await;
    }
    let owner = Owner::new(&store).await;
    let rows = owner.fetch(1_000).await.pending;
    assert_eq!(rows.len(), count * 2);
    for (at, row) in rows.iter().enumerate() {
        match &row.body {
            Body::Corrupt(reason) => {
                assert_eq!(at % 2, 0, "{reason}");
                assert!(
                    reason.starts_with("corrupt") || reason.starts_with("invalid"),
                    "{reason}"
                );
            }
            Body::Message(message) => {
                assert_eq!(at % 2, 1);
                assert_eq!(message.id().as_str(), format!("m-{at}"));
            }
        }
        assert!(row.key.is_some(), "a corrupt row keeps its key");
    }
    let settled = owner.settle(&rows, &DONE).await;
    assert!(settled.iter().all(|settled| *settled == Settled::Applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn purging_removes_settled_rows_then_their_ids() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    enqueue(
        &store,
        &[Draft::new("t", "x").id("a"), Draft::new("t", "x").id("b")],
    )
    .await;
    let owner = Owner::new(&store).await;
    let rows = owner.fetch(10).await.pending;
    owner.settle(&rows[..1], &DONE).await;
    let purge = async || {
        store
            .purge(&Queue::Outbox, Duration::ZERO, 100)
            .await
            .unwrap()
    };
    let known = format!("select count(*) from \"{}\".id", schema.0);
    assert_eq!(purge().await, 1);
    assert_eq!(number(&mut connection().await, known.clone()).await, 2);
    let again = enqueue(&store, &[Draft::new("t", "x").id("a")]).await;
    assert_eq!(
        again,
        [Enqueued::Duplicate(id("a"))],
        "it outlives its message"
    );
    assert_eq!(purge().await, 0);
    // The id whose message is still pending stays.
    assert_eq!(number(&mut connection().await, known).await, 1);
    let again = enqueue(&store, &[Draft::new("t", "x").id("b")]).await;
    assert_eq!(again, [Enqueued::Duplicate(id("b"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn purging_is_bounded_and_spares_what_is_young() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let drafts: Vec<_> = (0..20).map(|n| Draft::new("t", format!("{n}"))).collect();
    enqueue(&store, &drafts).await;
    let owner = Owner::new(&store).await;
    owner.settle(&owner.fetch(100).await.pending, &DONE).await;
    let purge =
        async |retention, limit| store.purge(&Queue::Outbox, retention, limit).await.unwrap();
    assert_eq!(purge(Duration::from_secs(3_600), 100).await, 0);
    assert_eq!(purge(Duration::ZERO, 7).await, 7);
    let oldest = format!("select min(seq) from \"{}\".message", schema.0);
    assert_eq!(number(&mut connection().await, oldest).await, 8);
    assert_eq!(purge(Duration::ZERO, 100).await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_comes_to_every_key() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let drafts: Vec<_> = (0..3_000)
        .map(|n| Draft::new("t", "x").key(format!("k-{n:05}")))
        .collect();
    enqueue(&store, &drafts).await;
    // All wait with nothing in front of them, but for the first 2,000, which are retrying.
    let sql = format!(
        "update \"{0}\".message set state = case when seq <= 2000 then 1 else 2 end,
           due_at = case when seq <= 2000 then now() + interval '1 hour' end,
           revision = revision + 1",
        schema.0
    );
    run(&mut connection().await, sql).await;
    let owner = Owner::new(&store).await;
    let mut request = owner.request(1);
    request.partitions[0].sweep = true;
    let mut released = 0;
    for _ in 0..40 {
        let fetched = iobox_core::store::Store::fetch(store.as_ref(), &request)
            .await
            .unwrap();
        assert!(fetched.released.len() <= 64);
        released += fetched.released.len();
    }
    assert_eq!(released, 1_000);
    let first = owner.fetch(1).await.pending;
    assert_eq!(first[0].seq, Seq(2_001));
}

/// The date of an event is kept to the microsecond, in UTC, also one before 1970.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_date_is_kept_as_it_was_given() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    let span = Duration::from_micros(981_173_106_789_012);
    let all = [
        delivery("t", "after", "").occurred_at(epoch + span),
        delivery("t", "before", "").occurred_at(epoch - span),
        delivery("t", "none", ""),
    ];
    receive(&*store, &all).await;
    for (id, date) in [
        ("after", "= '2001-02-03 04:05:06.789012+00'"),
        ("before", "= '1938-11-28 19:54:53.210988+00'"),
        ("none", "is null"),
    ] {
        let sql = format!(
            "select count(*) from \"{}\".received where id = '{id}' and occurred_at {date}",
            schema.0
        );
        assert_eq!(number(&mut connection().await, sql).await, 1, "{id}");
    }
}
