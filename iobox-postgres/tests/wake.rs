//! The wake-up: a notification comes while somebody sleeps, and none while nobody does.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::time::Duration;

use iobox_core::{
    ErrorKind,
    message::Draft,
    queue::Queue,
    store::{Armed, Enqueue, Store},
};
use iobox_postgres::PostgresStore;
use iobox_testkit::servers::Cable;
use sqlx::{Connection, postgres::PgListener};
use uuid::Uuid;

use crate::support::{Schema, connection, enqueue, number, options, run, url};

/// Long enough for anything that is going to happen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SLEEP: Duration = Duration::from_secs(1);

async fn arm(store: &PostgresStore) -> Box<dyn Armed> {
    let wake_up = store.wake_up().expect("the wake-up is on");
    wake_up.arm(&Queue::Outbox).await.expect("arm")
}

/// Arms until K is free: a transaction that ended a moment ago may still hold it.
async fn arm_alone(store: &PostgresStore) -> Box<dyn Armed> {
    for _ in 0..100 {
        let armed = arm(store).await;
        if armed.at_most() == SLEEP {
            return armed;
        }
        armed.disarm().await;
    }
    panic!("somebody holds K");
}

async fn woken(armed: &mut Box<dyn Armed>) -> bool {
    tokio::time::timeout(PATIENCE, armed.wait()).await.is_ok()
}

fn draft() -> Draft {
    Draft::new("t", "x")
}

/// The channel, read from the debug output.
async fn channel(schema: &Schema) -> String {
    let store = schema.store(schema.config()).await;
    let text = format!("{:?}", store.wake_up().unwrap());
    text.split('"').nth(1).expect("a channel").to_owned()
}

/// A second session that hears what the sleeper would hear.
async fn eavesdrop(schema: &Schema) -> PgListener {
    let mut listener = PgListener::connect(&url()).await.unwrap();
    listener.listen(&channel(schema).await).await.unwrap();
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_a_sleeper() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let other = schema.store(schema.config().partitions(4)).await;
    for _ in 0..5 {
        let mut armed = arm_alone(&store).await;
        enqueue(&other, &[draft()]).await;
        assert!(woken(&mut armed).await);
        armed.disarm().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_function_wakes_a_sleeper() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut armed = arm_alone(&store).await;
    let sql = format!("select \"{}\".enqueue('t', null, 'x')", schema.0);
    run(&mut connection().await, sql).await;
    assert!(woken(&mut armed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_nobody_sleeps() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut heard = eavesdrop(&schema).await;
    // Never armed, then disarmed, then dropped.
    enqueue(&store, &[draft()]).await;
    arm_alone(&store).await.disarm().await;
    enqueue(&store, &[draft()]).await;
    drop(arm_alone(&store).await);
    let held = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'
       and pid in (select pid from pg_stat_activity where application_name = 'iobox')
       and (classid::bigint << 32 | objid::bigint) = "
        .to_owned() + &wake_key(&schema).await.to_string();
    while number(&mut connection().await, held.clone()).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sql = format!("select \"{}\".enqueue('t', null, 'x')", schema.0);
    run(&mut connection().await, sql).await;
    // One that is sent now comes after whatever would have been sent.
    let mut armed = arm_alone(&store).await;
    enqueue(&store, &[draft()]).await;
    assert!(woken(&mut armed).await);
    let first = tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.payload(), "", "a notification carries nothing");
    assert!(
        heard.next_buffered().is_none(),
        "there was one sleep and one commit"
    );
}

/// The lock K, read from the SQL function.
async fn wake_key(schema: &Schema) -> i64 {
    number(
        &mut connection().await,
        format!(
            "select (regexp_match(prosrc, 'lock_shared\\((-?[0-9]+)\\)'))[1]::bigint
             from pg_proc where proname = 'enqueue' and pronamespace = '\"{}\"'::regnamespace",
            schema.0
        ),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_in_flight_makes_the_sleep_short() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let mut tx = application.begin().await.unwrap();
    store.enqueue(&mut tx, &[draft()]).await.unwrap();
    let armed = arm(&store).await;
    assert!(
        armed.at_most() < Duration::from_millis(100),
        "{:?}",
        armed.at_most()
    );
    armed.disarm().await;
    tx.commit().await.unwrap();
    arm_alone(&store).await.disarm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sleepers_are_both_woken() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let other = schema.store(schema.config().partitions(4)).await;
    let mut one = arm_alone(&store).await;
    let mut two = arm(&other).await;
    assert!(two.at_most() < SLEEP, "the other one holds K");
    enqueue(&store, &[draft()]).await;
    assert!(woken(&mut one).await && woken(&mut two).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_that_loses_its_connections_returns() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut armed = arm_alone(&store).await;
    let kill = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where application_name = 'iobox' and pid <> pg_backend_pid()
           and (query like '%{}%' or query like 'LISTEN \"{}\"%')",
        wake_key(&schema).await,
        channel(&schema).await
    );
    assert_eq!(number(&mut connection().await, kill).await, 2);
    assert!(woken(&mut armed).await, "the hint can no longer be trusted");
    armed.disarm().await;
    // The next sleep works again.
    let mut armed = arm_alone(&store).await;
    enqueue(&store, &[draft()]).await;
    assert!(woken(&mut armed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_there_is_no_wake_up_and_no_lock() {
    let schema = Schema::new();
    let config = || schema.config().wake_up(false).partitions(4);
    let store = schema.store(config()).await;
    store.migrate().await.unwrap();
    assert!(store.wake_up().is_none());
    let mut application = connection().await;
    let mut tx = application.begin().await.unwrap();
    store.enqueue(&mut tx, &[draft()]).await.unwrap();
    let sql = format!("select \"{}\".enqueue('t', null, 'x')", schema.0);
    run(&mut tx, sql).await;
    let locks = "select count(*) from pg_locks
       where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(number(&mut tx, locks).await, 0);
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_a_transaction_can_be_prepared() {
    let schema = Schema::new();
    let on = schema.migrated(4).await;
    let off = schema
        .store(schema.config().wake_up(false).partitions(4))
        .await;
    // Somebody sleeps, so that a writer with the wake-up on would notify.
    let _armed = arm_alone(&on).await;
    let mut application = connection().await;
    let name = Uuid::now_v7();
    run(&mut application, "begin").await;
    off.enqueue(&mut application, &[draft()]).await.unwrap();
    run(&mut application, format!("prepare transaction '{name}'")).await;
    run(&mut application, format!("commit prepared '{name}'")).await;

    run(&mut application, "begin").await;
    on.enqueue(&mut application, &[draft()]).await.unwrap();
    let prepared = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("prepare transaction '{name}'")))
        .execute(&mut application)
        .await;
    assert!(
        prepared.is_err(),
        "a transaction that has notified cannot be prepared"
    );
    let count = format!("select count(*) from \"{}\".message", schema.0);
    assert_eq!(number(&mut connection().await, count).await, 1);
}

/// A connection that says nothing any more holds up neither who wants to sleep nor who wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_keeps_nobody_up() {
    let server = options();
    let target = format!("{}:{}", server.get_host(), server.get_port());
    let mut found = tokio::net::lookup_host(target).await.expect("an address");
    let cable = Cable::to(found.next().expect("one"))
        .await
        .expect("a cable");
    let behind = server.host("127.0.0.1").port(cable.address().port());
    let schema = Schema::new();
    schema.migrated(4).await;
    let config = schema.config().pool_timeout(Duration::from_millis(500));
    let store = schema.store_as(behind, config.partitions(4)).await;

    let armed = arm(&store).await;
    cable.mute();
    let disarmed = tokio::time::timeout(PATIENCE, armed.disarm()).await;
    disarmed.expect("it gives up");
    cable.mend();

    // Its connections are kept for the next sleep.
    arm(&store).await.disarm().await;
    cable.mute();
    let wake_up = store.wake_up().expect("the wake-up is on");
    let armed = tokio::time::timeout(PATIENCE, wake_up.arm(&Queue::Outbox)).await;
    let Err(error) = armed.expect("it gives up") else {
        panic!("nobody answered");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    cable.mend();
    arm(&store).await.disarm().await;
}
