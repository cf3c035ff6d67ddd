//! Locks: what happens while somebody else writes.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use iobox_core::{
    ErrorKind,
    message::Draft,
    store::{State, Store},
};
use iobox_sqlite::{Failure, rusqlite::TransactionBehavior};
use iobox_testkit::suite::support::{Instance, done};

use super::fixture::{File, enqueue, migrated, open, states, try_enqueue};

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_for_another_process_is_told_so() {
    let file = File::new();
    let store = open(file.config().busy_timeout(Duration::from_millis(50)));
    store.migrate().await.expect("migrate");
    let one = Instance::owner(&store).await;
    enqueue(&store, vec![Draft::new("a", "1")]).await;

    let mut other = file.connect();
    let lock = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    let start = Instant::now();
    let refused = try_enqueue(&store, vec![Draft::new("a", "2")]).await;
    assert_eq!(refused.expect_err("locked").kind(), ErrorKind::Unavailable);
    let waited = start.elapsed();
    let bounds = Duration::from_millis(50)..Duration::from_secs(4);
    assert!(bounds.contains(&waited), "{waited:?}");
    let refused = store.begin().await;
    assert_eq!(refused.expect_err("locked").kind(), ErrorKind::Unavailable);
    let row = one.one().await;
    let settled = store.settle(&[one.settlement(&row, done())]).await;
    assert_eq!(settled.expect_err("locked").kind(), ErrorKind::Unavailable);
    drop(lock);

    enqueue(&store, vec![Draft::new("a", "2")]).await;
    one.apply(&row, done()).await;
    assert_eq!(states(&store).await, [State::Done, State::Pending]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_given_back_in_time_is_waited_for() {
    let (file, store) = migrated().await;
    let mut other = file.connect();
    let (locked, is_locked) = std::sync::mpsc::sync_channel(1);
    let holder = std::thread::spawn(move || {
        let lock = other
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .expect("the lock");
        locked.send(()).expect("a waiter");
        std::thread::sleep(Duration::from_millis(200));
        drop(lock);
    });
    is_locked.recv().expect("a holder");
    enqueue(&store, vec![Draft::new("a", "1")]).await;
    holder.join().expect("an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_wait_for_writers() {
    let (_file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    enqueue(&store, vec![Draft::new("a", "1")]).await;
    let mut tx = store.begin().await.expect("begin");
    tx.run(|conn| -> Result<_, Failure> { Ok(conn.execute_batch("CREATE TABLE t (x)")?) })
        .await
        .expect("a write");
    assert_eq!(one.fetch().await.pending.len(), 1);
    tx.commit().await.expect("commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_never_pause_do_not_keep_a_renewal_out() {
    let (_file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for at in 0..100 {
                    enqueue(&store, vec![Draft::new("a", at.to_string())]).await;
                }
            })
        })
        .collect();
    for _ in 0..20 {
        let renewal = tokio::time::timeout(Duration::from_secs(2), one.renewal(false));
        renewal.await.expect("its turn comes");
    }
    for task in busy {
        task.await.expect("an end");
    }
    assert_eq!(states(&store).await.len(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_transaction_that_read_too_early_is_a_conflict() {
    let (file, store) = migrated().await;
    let mut own = file.connect();
    let tx = own.transaction().expect("deferred");
    let _: i64 = tx
        .query_row("SELECT count(*) FROM iobox_outbox", [], |row| row.get(0))
        .expect("a read");
    enqueue(&store, vec![Draft::new("a", "1")]).await;
    let refused = store.enqueue_sync(&tx, &[Draft::new("a", "2")]);
    assert_eq!(refused.expect_err("stale").kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_reader_kept_growing_shrinks_again() {
    let (file, store) = migrated().await;
    let mut reader = file.connect();
    let open_read = reader.transaction().expect("a read");
    let _: i64 = open_read
        .query_row("SELECT count(*) FROM iobox_outbox", [], |row| row.get(0))
        .expect("a read");
    let draft = || Draft::new("a", vec![0_u8; 200_000]);
    for _ in 0..15 {
        enqueue(&store, (0..10).map(|_| draft()).collect()).await;
    }
    let log = file.path().with_extension("db-wal");
    let size = || std::fs::metadata(&log).expect("a log").len();
    assert!(size() > 20 * 1024 * 1024, "the reader keeps it: {}", size());
    drop(open_read);
    drop(reader);
    for _ in 0..3 {
        enqueue(&store, (0..10).map(|_| draft()).collect()).await;
    }
    assert!(size() <= 17 * 1024 * 1024, "it was cut: {}", size());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beyond_the_queue_wait_for_room() {
    let file = File::new();
    let store = open(file.config().queue(1));
    store.migrate().await.expect("migrate");
    let callers: Vec<_> = (0..50)
        .map(|at| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                enqueue(&store, vec![Draft::new("a", at.to_string())]).await;
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("its turn");
    }
    assert_eq!(states(&store).await.len(), 50);
}

#[test]
fn stores_that_make_the_same_file_at_once_all_open() {
    for _ in 0..100 {
        let file = File::new();
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    drop(open(file.config()));
                });
            }
        });
    }
}
