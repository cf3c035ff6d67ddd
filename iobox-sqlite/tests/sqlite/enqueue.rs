//! Enqueueing: own connections, duplicates, errors that take back.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    ErrorKind, Outbox,
    message::Draft,
    queue::Queue,
    store::{Admin, Enqueued, Selection},
};
use iobox_sqlite::{SqliteStore, rusqlite::TransactionBehavior};
use iobox_testkit::suite::support::{Instance, done, labels};

use super::fixture::{enqueue, migrated, states, try_enqueue};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_callers_own_enqueues() {
    let (file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let mut own = file.connect();
    own.execute_batch("CREATE TABLE orders (id INTEGER)")
        .expect("a table");
    for commit in [true, false] {
        let tx = own
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .expect("begin");
        tx.execute("INSERT INTO orders VALUES (1)", [])
            .expect("a row");
        let drafts = [Draft::new("a", "1").key("k"), Draft::new("a", "2").key("k")];
        let enqueued = store.enqueue_sync(&tx, &drafts).expect("enqueue");
        assert_eq!(enqueued.len(), 2);
        if commit {
            tx.commit().expect("commit");
        }
    }
    assert_eq!(file.number("SELECT count(*) FROM orders"), 1);
    assert_eq!(labels(&one.fetch().await), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_of_core_writes_through_the_store() {
    let (_file, store) = migrated().await;
    let outbox = Outbox::new(SqliteStore::clone(&store));
    let mut tx = store.begin().await.expect("begin");
    let enqueued = outbox.enqueue(&mut tx, Draft::new("a", "1")).await;
    assert_eq!(enqueued.expect("enqueue").len(), 1);
    tx.commit().await.expect("commit");
    assert_eq!(states(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_breaks_a_bound_takes_back_nothing_else() {
    let (_file, store) = migrated().await;
    let outbox = Arc::clone(&store);
    let kept = store.write(move |tx| {
        outbox.enqueue_sync(tx, &[Draft::new("a", "1")])?;
        let bad = [Draft::new("a", "2").id("x"), Draft::new("a b", "3")];
        let refused = outbox.enqueue_sync(tx, &bad);
        assert_eq!(refused.expect_err("a space").kind(), ErrorKind::Invalid);
        // The id was not taken either.
        outbox.enqueue_sync(tx, &[Draft::new("a", "4").id("x")])
    });
    let enqueued = kept.await.expect("a write");
    assert!(!enqueued[0].is_duplicate());
    assert_eq!(states(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_stays_known_when_its_message_is_gone() {
    let (file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let draft = || vec![Draft::new("a", "1").id("order-1")];
    enqueue(&store, draft()).await;
    let row = one.one().await;
    one.apply(&row, done()).await;
    file.edit("UPDATE iobox_meta SET clock_shift_ms = 1000");
    let purged = store.purge(&Queue::Outbox, Duration::ZERO, 10).await;
    assert_eq!(purged.expect("a purge"), 1);
    assert_eq!(file.number("SELECT count(*) FROM iobox_content"), 0);
    let again = enqueue(&store, draft()).await;
    assert!(matches!(again[..], [Enqueued::Duplicate(_)]));
    // And a seq is not used again.
    enqueue(&store, vec![Draft::new("a", "2")]).await;
    assert!(one.one().await.seq > row.seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_seq_is_not_used_again_after_a_purge_and_a_restart() {
    let (file, store) = migrated().await;
    enqueue(
        &store,
        vec![Draft::new("a", "1"), Draft::new("a", "2").id("two")],
    )
    .await;
    let two = iobox_core::message::MessageId::new("two").expect("an id");
    let discarded = store
        .discard(&Queue::Outbox, &Selection::One(two), false)
        .await;
    assert_eq!(discarded.expect("a discard").count, 1);
    file.edit("UPDATE iobox_meta SET clock_shift_ms = 1000");
    let purged = store.purge(&Queue::Outbox, Duration::ZERO, 10).await;
    assert_eq!(purged.expect("a purge"), 1);
    drop(store);
    let store = super::fixture::open(file.config());
    enqueue(&store, vec![Draft::new("a", "3")]).await;
    assert_eq!(file.number("SELECT max(seq) FROM iobox_outbox"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_many_in_small_steps() {
    let (file, store) = migrated().await;
    for _ in 0..5 {
        enqueue(&store, vec![Draft::new("a", "1"); 500]).await;
    }
    file.edit("UPDATE iobox_outbox SET state = 4, settled_at = 1");
    let purge = |limit| store.purge(&Queue::Outbox, Duration::from_secs(1), limit);
    assert_eq!(purge(1_100).await.expect("a purge"), 1_100);
    assert_eq!(purge(10_000).await.expect("a purge"), 1_400);
    assert_eq!(purge(10_000).await.expect("a purge"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_database_takes_the_whole_call_back() {
    let (file, store) = migrated().await;
    file.edit(
        "CREATE TRIGGER refuse BEFORE INSERT ON iobox_outbox WHEN new.topic = 'bad' \
         BEGIN SELECT raise(ABORT, 'refused'); END",
    );
    let outbox = Arc::clone(&store);
    let kept = store.write(move |tx| {
        let refused = outbox.enqueue_sync(tx, &[Draft::new("good", "1"), Draft::new("bad", "2")]);
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Rejected);
        outbox.enqueue_sync(tx, &[Draft::new("good", "3")])
    });
    kept.await.expect("a write");
    assert_eq!(states(&store).await.len(), 1);
    let refused = try_enqueue(&store, vec![Draft::new("bad", "2")]).await;
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Rejected);
}
