//! Transactions of the application on the store's thread.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    Error, ErrorKind,
    message::Draft,
    store::{Enqueue, Enqueued, Hint, State, Store},
};
use iobox_sqlite::{Failure, SqliteTx};

use super::fixture::{File, enqueue, migrated, open, states};

fn draft() -> Draft {
    Draft::new("orders.created", "{}")
}

const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

async fn run(tx: &mut SqliteTx, sql: &'static str) -> Result<(), Failure> {
    tx.run(move |conn| -> Result<(), Failure> { Ok(conn.execute_batch(sql)?) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_messages_commit_or_vanish_together() {
    let (file, store) = migrated().await;
    file.edit("CREATE TABLE orders (id INTEGER)");
    for commit in [true, false] {
        let mut tx = store.begin().await.expect("begin");
        run(&mut tx, "INSERT INTO orders VALUES (1)")
            .await
            .expect("a row");
        let enqueued = store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
        assert!(matches!(enqueued[..], [Enqueued::New(_)]));
        if commit {
            tx.commit().await.expect("commit");
        } else {
            tx.rollback().await.expect("rollback");
        }
    }
    let mut dropped = store.begin().await.expect("begin");
    store
        .enqueue(&mut dropped, &[draft()])
        .await
        .expect("enqueue");
    drop(dropped);
    drop(store.begin().await.expect("the dropped one is over"));
    assert_eq!(file.number("SELECT count(*) FROM orders"), 1);
    assert_eq!(states(&store).await, [State::Pending]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_closure_leaves_the_transaction_open() {
    let (_file, store) = migrated().await;
    let mut tx = store.begin().await.expect("begin");
    store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
    let failed = run(&mut tx, "INSERT INTO nowhere VALUES (1)").await;
    assert_eq!(
        Error::from(failed.expect_err("no table")).kind(),
        ErrorKind::Invalid
    );
    tx.commit().await.expect("commit");
    assert_eq!(states(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lasts_too_long_is_rolled_back_and_says_so() {
    let file = File::new();
    let store = open(file.config().transaction_limit(Duration::from_millis(100)));
    store.migrate().await.expect("migrate");
    let mut late = store.begin().await.expect("begin");
    store.enqueue(&mut late, &[draft()]).await.expect("enqueue");
    // The next one waits for the end of the first.
    let mut next = store.begin().await.expect("begin");
    let error = store
        .enqueue(&mut late, &[draft()])
        .await
        .expect_err("over");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("100ms"), "{error}");
    store.enqueue(&mut next, &[draft()]).await.expect("enqueue");
    next.commit().await.expect("commit");
    let error = late.commit().await.expect_err("over");
    assert!(error.to_string().contains("100ms"), "{error}");
    assert_eq!(states(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_runs_too_long_is_interrupted() {
    let file = File::new();
    let store = open(file.config().transaction_limit(Duration::from_millis(100)));
    store.migrate().await.expect("migrate");
    let mut tx = store.begin().await.expect("begin");
    store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
    let interrupted = run(&mut tx, ENDLESS).await.expect_err("interrupted");
    assert_eq!(Error::from(interrupted).kind(), ErrorKind::Unavailable);
    assert!(tx.commit().await.is_err());

    let outbox = Arc::clone(&store);
    let written = store.write(move |tx| -> Result<(), Failure> {
        outbox.enqueue_sync(tx, &[draft()])?;
        Ok(tx.execute_batch(ENDLESS)?)
    });
    let interrupted = Error::from(written.await.expect_err("interrupted"));
    assert_eq!(interrupted.kind(), ErrorKind::Unavailable);
    assert!(states(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_rolls_back_and_the_store_goes_on() {
    let (_file, store) = migrated().await;
    let mut tx = store.begin().await.expect("begin");
    store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
    let panicked = tx
        .run(|_| -> Result<(), Error> { panic!("on purpose") })
        .await
        .expect_err("a panic");
    assert_eq!(panicked.kind(), ErrorKind::Internal);
    assert!(panicked.to_string().contains("on purpose"), "{panicked}");
    let over = tx.commit().await.expect_err("over");
    assert_eq!(over.kind(), ErrorKind::Internal);

    let outbox = Arc::clone(&store);
    let written = store.write(move |tx| -> Result<(), Error> {
        outbox.enqueue_sync(tx, &[draft()])?;
        panic!("on purpose")
    });
    let panicked = written.await.expect_err("a panic");
    assert_eq!(panicked.kind(), ErrorKind::Internal);

    enqueue(&store, vec![draft()]).await;
    assert_eq!(states(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_ends_the_transaction_itself_is_found_out() {
    let (_file, store) = migrated().await;
    for sql in ["ROLLBACK", "COMMIT"] {
        let mut tx = store.begin().await.expect("begin");
        store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
        // A commit behind our back is refused, and ends in a rollback too.
        assert_eq!(run(&mut tx, sql).await.is_ok(), sql == "ROLLBACK");
        assert!(run(&mut tx, "SELECT 1").await.is_err(), "{sql}");
        assert!(tx.commit().await.is_err(), "{sql}");
        let written = store.write(move |tx| -> Result<(), Failure> { Ok(tx.execute_batch(sql)?) });
        assert!(written.await.is_err(), "{sql}");
    }
    assert!(states(&store).await.is_empty());
    enqueue(&store, vec![draft()]).await;
}

/// Where SQLite has rolled the transaction back, and a closure passed over the error, nothing that
/// follows is a transaction of its own.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_behind_an_error_that_ended_the_transaction() {
    let (file, store) = migrated().await;
    file.edit("CREATE TABLE log (x); CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)");
    for enqueues in [false, true] {
        let outbox = Arc::clone(&store);
        let written = store.write(move |tx| -> Result<(), Failure> {
            let known = tx.execute("INSERT OR ROLLBACK INTO orders VALUES (1)", []);
            assert!(known.is_err());
            if enqueues {
                let refused = outbox.enqueue_sync(tx, &[draft()]);
                assert_eq!(refused.expect_err("over").kind(), ErrorKind::Unavailable);
            }
            tx.execute("INSERT INTO log VALUES (1)", [])?;
            Ok(())
        });
        assert!(written.await.is_err());
        assert!(states(&store).await.is_empty());
        assert_eq!(file.number("SELECT count(*) FROM log"), 0);
    }
    enqueue(&store, vec![draft()]).await;
    assert_eq!(states(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_futures_do_what_they_promise() {
    let (file, store) = migrated().await;
    // A begin that nobody waits for leaves nothing open.
    for _ in 0..20 {
        let begun = tokio::time::timeout(Duration::ZERO, store.begin()).await;
        drop(begun);
    }
    // A commit that was never polled rolls back.
    let mut tx = store.begin().await.expect("begin");
    store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
    drop(tx.commit());
    drop(store.begin().await.expect("the first is over"));
    assert!(states(&store).await.is_empty());
    // A write that was polled once runs to its end.
    let outbox = Arc::clone(&store);
    let mut written = Box::pin(store.write(move |tx| -> Result<(), Failure> {
        std::thread::sleep(Duration::from_millis(50));
        outbox.enqueue_sync(tx, &[draft()])?;
        Ok(())
    }));
    let once = std::future::poll_fn(|cx| {
        let polled = written.as_mut().poll(cx);
        std::task::Poll::Ready(polled.is_pending())
    });
    assert!(once.await);
    drop(written);
    drop(store.begin().await.expect("it is over"));
    assert_eq!(states(&store).await.len(), 1);
    // A closure of a transaction whose future is dropped runs before what comes after it.
    let mut tx = store.begin().await.expect("begin");
    {
        let mut slow = Box::pin(tx.run(|conn| -> Result<(), Failure> {
            std::thread::sleep(Duration::from_millis(20));
            Ok(conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")?)
        }));
        let once =
            std::future::poll_fn(|cx| std::task::Poll::Ready(slow.as_mut().poll(cx).is_pending()));
        assert!(once.await);
    }
    run(&mut tx, "INSERT INTO t VALUES (2)")
        .await
        .expect("after it");
    tx.commit().await.expect("commit");
    assert_eq!(file.number("SELECT count(*) FROM t"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_closures_of_a_transaction_are_bounded() {
    let (_file, store) = migrated().await;
    let mut tx = store.begin().await.expect("begin");
    let mut refused = false;
    for _ in 0..40 {
        let mut slow = Box::pin(tx.run(|_| -> Result<(), Error> {
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        }));
        let polled = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match slow.as_mut().poll(cx) {
                std::task::Poll::Ready(Err(error)) => Some(error.kind()),
                _ => None,
            })
        });
        refused |= polled.await == Some(ErrorKind::Unavailable);
    }
    assert!(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_and_an_enqueue_hints() {
    let (_file, store) = migrated().await;
    let mut listener = store.signal().listen();
    let mut tx = store.begin().await.expect("begin");
    store.enqueue(&mut tx, &[draft()]).await.expect("enqueue");
    assert_eq!(listener.next().await, Hint::Enqueued);
    tx.commit().await.expect("commit");
    assert_eq!(listener.next().await, Hint::Wake);
    enqueue(&store, vec![draft()]).await;
    assert_eq!(listener.next().await, Hint::Wake);
    // A transaction without messages wakes nobody.
    store
        .write(|tx| -> Result<(), Failure> { Ok(tx.execute_batch("CREATE TABLE t (x)")?) })
        .await
        .expect("a write");
    let silence = tokio::time::timeout(Duration::from_millis(50), listener.next());
    assert!(silence.await.is_err());
}
