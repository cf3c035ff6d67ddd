//! What a handler begins inside of its transaction: however that ends, the effects are committed with the
//! mark, all of them, or not at all.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use iobox_core::{
    ErrorKind,
    store::{Settled, Transact},
};
use iobox_testkit::poll_n_then_drop;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{handling::Given, number};

/// At how many polls a `begin` is dropped: it is answered before.
const POLLS: usize = 12;

async fn pid(tx: &mut PgConnection) -> i64 {
    number(tx, "select pg_backend_pid()::bigint").await
}

/// An effect of a handler that carries on whatever becomes of it.
async fn try_insert(given: &Given, tx: &mut PgConnection, id: &str) -> bool {
    let sql = format!("insert into \"{}\".effect values ('a', $1)", given.schema.0);
    let inserted = sqlx::query(AssertSqlSafe(sql)).bind(id).execute(tx).await;
    inserted.is_ok()
}

/// A handler that is dropped behind a savepoint of its own, which ended well.
async fn leave_behind_a_savepoint(given: &Given) {
    let mut tx = given.begin().await;
    given.insert(&mut tx, "outer").await;
    let inner = tx.begin().await.expect("a savepoint");
    inner.commit().await.expect("a release");
}

/// Looks when the transaction before is over: then its place is free.
async fn nothing_is_committed(given: &Given, polls: usize) {
    let _next = given.begin().await;
    assert_eq!(given.committed().await, 0, "dropped at poll {polls}");
}

/// The next transaction has nothing of a `begin` that failed in the one before: what it does is committed
/// by its own end alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_begin_that_failed_commits_nothing_of_the_next_transaction() {
    let given = Given::new(1).await;
    // There is one place, which is free when the connection has come back.
    let _other = given.begin().await;
    let mut tx = given.begin().await;
    let failed = sqlx::raw_sql("select 1 / 0").execute(&mut *tx).await;
    failed.expect_err("a division by zero");
    tx.begin().await.expect_err("the transaction is aborted");
    drop(tx);
    leave_behind_a_savepoint(&given).await;
    // The place is free when the transaction is over.
    let mut tx = given.begin().await;
    assert_eq!(given.committed().await, 0, "nobody marked it");
    given.insert(&mut tx, "marked").await;
    assert_eq!(given.finish(tx, 0).await, Settled::Applied);
    assert_eq!(given.committed().await, 1);
}

/// The same of a handler that is dropped while it begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_begin_that_is_dropped_commits_nothing_of_the_next_transaction() {
    let given = Given::new(1).await;
    let _other = given.begin().await;
    for polls in 1..=POLLS {
        let mut tx = given.begin().await;
        drop(poll_n_then_drop(tx.begin(), polls).await);
        drop(tx);
        leave_behind_a_savepoint(&given).await;
        nothing_is_committed(&given, polls).await;
    }
}

/// A handler that gave up a `begin`, once or a few times, and carries on: all of its effects are
/// committed, with the mark, or none.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_a_begin_and_carries_on_has_all_effects_or_none() {
    for begins in [1, 3] {
        let given = Given::new(POLLS).await;
        let (mut effects, mut cut) = (0, 0);
        for polls in 1..=POLLS {
            let mut tx = given.begin().await;
            given.insert(&mut tx, "before").await;
            for _ in 0..begins {
                drop(poll_n_then_drop(tx.begin(), polls).await);
                try_insert(&given, &mut tx, "between").await;
            }
            if let Ok(mut inner) = tx.begin().await {
                try_insert(&given, &mut inner, "inside").await;
                let _ = inner.commit().await;
            }
            try_insert(&given, &mut tx, "after").await;
            let success = given.worker.success(&given.rows[polls - 1]);
            let finish = given
                .store
                .mark_and_commit(tx, given.worker.store(), &success);
            match finish.await {
                Ok(settled) => {
                    assert_eq!(settled, Settled::Applied);
                    effects += 3 + i64::from(begins);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    cut += 1;
                }
            }
            assert_eq!(given.committed().await, effects, "dropped at poll {polls}");
        }
        assert!(cut > 0, "no begin was cut");
    }
}

/// A savepoint in which a `begin` was given up does not end the transaction that it is in.
#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_commits_nothing_of_the_transaction_around_it() {
    let given = Given::new(1).await;
    let _other = given.begin().await;
    for polls in 1..=POLLS {
        let mut tx = given.begin().await;
        given.insert(&mut tx, "outer").await;
        let mut inner = tx.begin().await.expect("a savepoint");
        given.insert_into(&mut inner, "inner").await;
        drop(poll_n_then_drop(inner.begin(), polls).await);
        let _ = inner.commit().await;
        drop(tx);
        nothing_is_committed(&given, polls).await;
    }
}

/// A `begin` that ends well costs the connection nothing.
#[tokio::test(flavor = "multi_thread")]
async fn savepoints_that_end_well_keep_the_connection() {
    let given = Given::new(3).await;
    let _other = given.begin().await;
    let mut pids = Vec::new();
    for row in 0..3 {
        let mut tx = given.begin().await;
        pids.push(pid(&mut tx).await);
        let mut inner = tx.begin().await.expect("a savepoint");
        given.insert_into(&mut inner, "undone").await;
        let mut innermost = inner.begin().await.expect("a savepoint");
        given.insert_into(&mut innermost, "undone").await;
        drop(innermost);
        inner.rollback().await.expect("a rollback");
        given.insert(&mut tx, "kept").await;
        assert_eq!(given.finish(tx, row).await, Settled::Applied);
    }
    assert_eq!(given.committed().await, 3);
    pids.dedup();
    assert_eq!(pids.len(), 1, "one connection served all of them");
}
