//! Enqueueing in the caller's transaction.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use iobox_core::{
    ErrorKind,
    message::Draft,
    store::{Admin, Enqueue, Enqueued, Filter, Page},
};
use iobox_postgres::PostgresStore;
use sqlx::{Connection, PgConnection, postgres::PgPoolOptions};

use crate::support::{Owner, Schema, connection, enqueue, id, options, run, until_locked_out};

fn draft(text: &str) -> Draft {
    Draft::new("orders.created", text.to_owned()).id(text)
}

async fn ids(store: &PostgresStore) -> Vec<String> {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    store
        .list(&iobox_core::queue::Queue::Outbox, &Filter::default(), page)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.id)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_transaction_leaves_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let mut tx = application.begin().await.unwrap();
    store.enqueue(&mut tx, &[draft("a")]).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(ids(&store).await.is_empty());
    // Its id was not taken.
    assert_eq!(
        enqueue(&store, &[draft("a")]).await,
        [Enqueued::New(id("a"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_takes_its_messages_along() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let mut tx = application.begin().await.unwrap();
    store.enqueue(&mut tx, &[draft("a")]).await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    store.enqueue(&mut inner, &[draft("b")]).await.unwrap();
    inner.rollback().await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    store.enqueue(&mut inner, &[draft("c")]).await.unwrap();
    inner.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&store).await, ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_connection_takes_messages() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let pool = PgPoolOptions::new().connect_lazy_with(options());
    let mut pooled = pool.acquire().await.unwrap();
    store.enqueue(&mut pooled, &[draft("a")]).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    store.enqueue(&mut tx, &[draft("b")]).await.unwrap();
    tx.commit().await.unwrap();
    let mut plain: PgConnection = connection().await;
    store.enqueue(&mut plain, &[draft("c")]).await.unwrap();
    assert_eq!(ids(&store).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_search_path_is_enough() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    run(&mut application, "set search_path = ''").await;
    store
        .enqueue(&mut application, &[draft("a").key("k")])
        .await
        .unwrap();
    store
        .enqueue_ordered(&mut application, [draft("b").key("k")])
        .await
        .unwrap();
    assert_eq!(ids(&store).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_call_keeps_its_order() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let drafts: Vec<_> = (0..5_000).map(|n| draft(&format!("{n}"))).collect();
    let enqueued = enqueue(&store, &drafts).await;
    assert_eq!(enqueued.len(), drafts.len());
    let owner = Owner::new(&store).await;
    let fetched = owner.fetch(5_000).await;
    let order: Vec<_> = fetched
        .pending
        .iter()
        .map(|row| match &row.body {
            iobox_core::store::Body::Message(message) => message.id().to_string(),
            iobox_core::store::Body::Corrupt(reason) => panic!("{reason}"),
        })
        .collect();
    assert_eq!(order, (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_draft_writes_nothing_and_poisons_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let mut tx = application.begin().await.unwrap();
    let error = store
        .enqueue(&mut tx, &[draft("a"), Draft::new("a b", "x")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    store.enqueue(&mut tx, &[draft("b")]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&store).await, ["b"]);
}

/// Two transactions enqueue the same id at once; the second one starts before the first commits.
async fn race(level: &str) -> iobox_core::Result<Vec<Enqueued>> {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let (mut one, mut two) = (connection().await, connection().await);
    let begin = format!("begin isolation level {level}");
    for connection in [&mut one, &mut two] {
        run(connection, begin.clone()).await;
        run(connection, "select 1").await;
    }
    store.enqueue(&mut one, &[draft("a")]).await.unwrap();
    let second = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move {
            let result = store.enqueue(&mut two, &[draft("a"), draft("b")]).await;
            let end = if result.is_ok() { "commit" } else { "rollback" };
            run(&mut two, end).await;
            result
        }
    });
    // Until the second one waits for the first.
    until_locked_out(&schema, 1, &second).await;
    run(&mut one, "commit").await;
    second.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_duplicate_is_told_at_read_committed() {
    let result = race("read committed").await.unwrap();
    assert_eq!(
        result,
        [Enqueued::Duplicate(id("a")), Enqueued::New(id("b"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_duplicate_is_a_conflict_above_read_committed() {
    for level in ["repeatable read", "serializable"] {
        assert_eq!(race(level).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_writers_of_a_key_wait_for_each_other() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let (mut one, mut two) = (connection().await, connection().await);
    run(&mut one, "begin").await;
    run(&mut two, "begin").await;
    let keyed = |text: &str, key: &str| draft(text).key(key);
    store
        .enqueue_ordered(&mut one, [keyed("a", "k"), keyed("b", "l")])
        .await
        .unwrap();
    // Another key does not wait.
    store
        .enqueue_ordered(&mut two, [keyed("c", "m")])
        .await
        .unwrap();
    run(&mut two, "set local lock_timeout = '50ms'").await;
    let error = store
        .enqueue_ordered(&mut two, [keyed("d", "l")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    run(&mut one, "commit").await;
    run(&mut two, "rollback").await;
    let mut tx = two.begin().await.unwrap();
    store
        .enqueue_ordered(&mut tx, [keyed("d", "l")])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&store).await, ["a", "b", "d"]);
}
