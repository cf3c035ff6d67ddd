//! The sessions of handlers: one that commits opens the transaction of whoever waits.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::time::{Duration, Instant};

use iobox_core::{
    Router,
    inbox::HandlerPolicy,
    store::{Settled, Transact},
};
use iobox_postgres::Session;
use iobox_testkit::suite::{
    inbox::support::{delivery, inbox, receive},
    support::PATIENCE,
};
use sqlx::Connection;

use crate::support::{
    Schema, connection,
    effect::{Effect, effect_table, effects, insert},
    handling::{Given, SESSIONS},
    number, run,
};

/// How many of these sessions are in a transaction.
async fn open(pids: &[i64]) -> i64 {
    let open = format!(
        "select count(*) from pg_stat_activity
         where state like 'idle in transaction%' and pid::bigint = any (array{pids:?}::bigint[])"
    );
    number(&mut connection().await, open).await
}

async fn pid(tx: &mut Session) -> i64 {
    number(tx, "select pg_backend_pid()::bigint").await
}

/// Whoever waits gets the session that commits, in a transaction of its own: what was done in it before
/// is committed, what is done in it now is not, and what is begun inside of it is a savepoint.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_a_transaction_of_its_own() {
    let given = Given::new(4).await;
    let mut first = given.begin().await;
    let mut second = given.begin().await;
    let busy = [pid(&mut first).await, pid(&mut second).await];
    given.insert(&mut first, "first").await;
    let (mut third, settled) = tokio::join!(given.begin(), given.finish(first, 0));
    assert_eq!(settled, Settled::Applied);
    assert_eq!(given.committed().await, 1);
    assert_eq!(pid(&mut third).await, busy[0], "the same session");
    given.insert(&mut third, "third").await;
    let mut inner = third.begin().await.expect("a savepoint");
    insert(&mut inner, &given.schema.0, "a", "undone").await;
    inner.rollback().await.expect("a rollback");
    assert_eq!(given.committed().await, 1);
    // Dropped: rolled back, and the place is free for the next.
    drop(third);
    let mut fourth = given.begin().await;
    given.insert(&mut fourth, "fourth").await;
    assert_eq!(given.finish(fourth, 1).await, Settled::Applied);
    // Refused: rolled back, and whoever waits gets on by itself.
    given.insert(&mut second, "again").await;
    let (mut fifth, settled) = tokio::join!(
        async {
            let _blocker = given.begin().await;
            given.begin().await
        },
        given.finish(second, 1)
    );
    assert_eq!(settled, Settled::Superseded);
    given.insert(&mut fifth, "fifth").await;
    assert_eq!(given.finish(fifth, 2).await, Settled::Applied);
    assert_eq!(given.committed().await, 3);
    for undone in ["third", "undone", "again"] {
        let found = effects(&given.schema.0, &format!("id = '{undone}'")).await;
        assert_eq!(found, (0, 0), "{undone}");
    }
}

/// A transaction in which a statement failed commits nothing, and nothing is opened behind it.
#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_hands_nothing_over() {
    let given = Given::new(2).await;
    let mut first = given.begin().await;
    let second = given.begin().await;
    given.insert(&mut first, "first").await;
    let failed = sqlx::raw_sql("select 1 / 0").execute(&mut *first).await;
    failed.expect_err("a division by zero");
    let success = given.worker.success(&given.rows[0]);
    let finish = given
        .store
        .mark_and_commit(first, given.worker.store(), &success);
    let (mut third, finished) = tokio::join!(given.begin(), finish);
    finished.expect_err("the transaction is aborted");
    assert_eq!(given.committed().await, 0);
    given.insert(&mut third, "third").await;
    assert_eq!(given.finish(third, 0).await, Settled::Applied);
    assert_eq!(given.finish(second, 1).await, Settled::Applied);
    assert_eq!(given.committed().await, 1);
}

/// Whoever gave up waiting, at whatever moment, leaves no session in a transaction and no place taken.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_leaves_nothing_open() {
    const ROUNDS: usize = 60;
    let given = Given::new(ROUNDS).await;
    let mut second = given.begin().await;
    let mut pids = vec![pid(&mut second).await];
    let mut gave_up = 0;
    for round in 0..ROUNDS {
        let mut first = given.begin().await;
        pids.push(pid(&mut first).await);
        given.insert(&mut first, &round.to_string()).await;
        // At once, or when the reply is under way, or later: as many polls as the round says.
        let patience = async {
            for _ in 0..round * 4 {
                tokio::task::yield_now().await;
            }
        };
        let waiting = async {
            tokio::select! {
                biased;
                begun = given.store.begin_handling() => Some(begun.expect("begin")),
                () = patience => None,
            }
        };
        let (begun, settled) = tokio::join!(waiting, given.finish(first, round));
        assert_eq!(settled, Settled::Applied);
        gave_up += usize::from(begun.is_none());
    }
    assert!(gave_up > 0, "nobody gave up");
    given.store.begin_handling().await.expect("a free place");
    drop(second);
    let deadline = Instant::now() + PATIENCE;
    while open(&pids).await > 0 {
        assert!(Instant::now() < deadline, "a transaction is open");
    }
    let rounds = i64::try_from(ROUNDS).expect("small");
    assert_eq!(given.committed().await, rounds);
}

/// While handlers take each other's sessions, the store's own transactions come to their turn.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_wait_keep_no_reception_out() {
    const MESSAGES: usize = 400;
    let schema = Schema::new();
    let config = schema.config().pool_size(SESSIONS).partitions(4);
    let store = schema.store(config).await;
    store.migrate().await.expect("migrate");
    effect_table(&schema).await;
    let mut router = Router::new();
    let effect = Effect::new(&schema.0, "a", Duration::from_millis(5));
    let mut started = effect.started.subscribe();
    let policy = HandlerPolicy::new().concurrency(20);
    router.on_tx("t", "a", effect).policy(policy);
    let inbox = inbox(&*store, router);
    inbox.subscribe().await.expect("subscribe");
    let all: Vec<_> = (0..MESSAGES)
        .map(|n| delivery("t", &n.to_string(), ""))
        .collect();
    receive(&*store, &all).await;
    let handle = inbox.spawn();
    let running = started.wait_for(|count| *count > 10).await;
    drop(running.expect("it runs"));
    receive(&*store, &[delivery("t", "late", "")]).await;
    let handled = effects(&schema.0, "true").await.0;
    let wanted = i64::try_from(MESSAGES).expect("small");
    assert!(handled < wanted / 2, "it waited for {handled} handlers");
    handle
        .wait_until_empty(PATIENCE)
        .await
        .expect("all handled");
    handle.drain().await.expect("a drain");
    assert_eq!(effects(&schema.0, "true").await, (wanted + 1, wanted + 1));
}

/// A deferred constraint that fails in the COMMIT is an error, and nothing is committed or opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_is_an_error() {
    let given = Given::new(2).await;
    let unique = format!(
        "alter table \"{}\".effect add constraint once unique (id) deferrable initially deferred",
        given.schema.0
    );
    run(&mut connection().await, unique).await;
    let mut first = given.begin().await;
    let second = given.begin().await;
    for _ in 0..2 {
        given.insert(&mut first, "twice").await;
    }
    let success = given.worker.success(&given.rows[0]);
    let finish = given
        .store
        .mark_and_commit(first, given.worker.store(), &success);
    let (third, finished) = tokio::join!(given.begin(), finish);
    finished.expect_err("the constraint");
    assert_eq!(given.committed().await, 0);
    assert_eq!(given.finish(third, 0).await, Settled::Applied);
    assert_eq!(given.finish(second, 1).await, Settled::Applied);
}
