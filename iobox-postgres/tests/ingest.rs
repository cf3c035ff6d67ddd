//! Ingesting and marking: what a takeover waits for, and for how long.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{sync::Arc, time::Duration};

use iobox_core::{
    queue::Queue,
    source::Position,
    store::{Ingest, IngestRequest, Ingested, RenewRequest, Settled, Store, Transact},
};
use iobox_postgres::PostgresStore;
use iobox_testkit::suite::{
    inbox::support::{Worker, delivery, queue, receive, source, stats, subscribe},
    support::PATIENCE,
};
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::support::{Schema, connection, number, run};

fn position(text: &str) -> Position {
    Position::new(text).expect("a position")
}

/// Waits until a session on the schema's tables waits for a lock; panics when `ended` comes first.
async fn blocked(schema: &Schema, ended: impl Fn() -> bool) {
    let waits = format!(
        "select count(*) from pg_stat_activity
         where wait_event_type = 'Lock' and (query like '%\"{0}\"%' or query ilike 'commit')
           and pid = any (select pid from pg_locks where relation in
             (select oid from pg_class where relnamespace = '{0}'::regnamespace))",
        schema.0
    );
    let mut person = connection().await;
    while number(&mut person, waits.clone()).await == 0 {
        assert!(!ended(), "it did not wait");
    }
}

/// A store, and an instance that may read its source.
async fn reading(schema: &Schema) -> (Arc<PostgresStore>, Worker<PostgresStore>) {
    let store = schema.migrated(1).await;
    subscribe(&*store, &[("t", "a")]).await;
    let holder = Worker::reading(&*store, &source()).await;
    (store, holder)
}

fn one_message(holder: &Worker<PostgresStore>) -> IngestRequest {
    IngestRequest {
        epoch: holder.epoch().expect("it holds the right"),
        from: None,
        to: position("1"),
        deliveries: vec![delivery("t", "1", "k")],
    }
}

async fn expire(schema: &Schema) {
    let sql = format!("update \"{}\".instance set expires = now()", schema.0);
    run(&mut connection().await, sql).await;
}

async fn sources(person: &mut PgConnection, schema: &Schema) -> i64 {
    let count = format!(
        "select count(*) from \"{}\".source where position is not null",
        schema.0
    );
    number(person, count).await
}

/// An ingest that meets a takeover under way waits for it, and stores nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_waits_for_a_takeover_under_way_and_is_refused() {
    let schema = Schema::new();
    let (store, holder) = reading(&schema).await;
    let mut taker = connection().await;
    let taken = format!(
        "begin; update \"{}\".partition set epoch = epoch + 1, owner = gen_random_uuid()
         where queue = 'ingest/shop'",
        schema.0
    );
    run(&mut taker, taken).await;
    let ingesting = {
        let (store, request) = (Arc::clone(&store), one_message(&holder));
        tokio::spawn(async move { store.ingest(&source(), &request).await.expect("a reply") })
    };
    blocked(&schema, || ingesting.is_finished()).await;
    run(&mut taker, "commit").await;
    assert_eq!(ingesting.await.expect("no panic"), Ingested::LeaseLost);
    assert_eq!(stats(&*store, "a").await.pending, 0);
    assert_eq!(sources(&mut connection().await, &schema).await, 0);
}

/// Between the fence of an ingest and the end of its COMMIT nobody gets the right to read; who gets it
/// then finds the position moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_waits_for_the_commit_of_an_ingest() {
    const GATE: i64 = 7_301_774_019;
    let schema = Schema::new();
    let (store, holder) = reading(&schema).await;
    // The commit itself waits for a lock that the test holds.
    let gate = format!(
        "create function \"{0}\".gate() returns trigger language plpgsql as $$
         begin perform pg_catalog.pg_advisory_xact_lock({GATE}); return null; end $$;
         create constraint trigger gate after update on \"{0}\".source
           deferrable initially deferred for each row execute function \"{0}\".gate()",
        schema.0
    );
    run(&mut connection().await, gate).await;
    let mut person = connection().await;
    run(&mut person, format!("select pg_advisory_lock({GATE})")).await;
    let ingesting = {
        let (store, request) = (Arc::clone(&store), one_message(&holder));
        tokio::spawn(async move { store.ingest(&source(), &request).await.expect("a reply") })
    };
    blocked(&schema, || ingesting.is_finished()).await;
    expire(&schema).await;
    let mut heir = Worker::reading(&*store, &source()).await;
    assert_eq!(heir.epoch(), None, "the commit is under way");
    assert!(!ingesting.is_finished());
    run(&mut person, format!("select pg_advisory_unlock({GATE})")).await;
    let stored = ingesting.await.expect("no panic");
    assert!(matches!(stored, Ingested::Stored(_)), "{stored:?}");
    assert!(heir.acquire().await);
    assert!(heir.epoch() > holder.epoch());
    let stands = store.position(&source()).await.expect("a position");
    assert_eq!(stands, Some(position("1")));
    assert_eq!(stats(&*store, "a").await.pending, 1);
}

/// A session that is paused between a mark and its COMMIT keeps its partition from the next owner for
/// no longer than a lease: the one that was renewed last, or what the configuration says. What it did
/// is not committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_before_a_commit_holds_a_takeover_up_for_a_lease() {
    let second = Duration::from_secs(1);
    for configured in [true, false] {
        let schema = Schema::new();
        let mut config = schema.config().partitions(1);
        if configured {
            config = config.idle_in_transaction_timeout(second);
        }
        let store = schema.store(config).await;
        store.migrate().await.expect("migrate");
        subscribe(&*store, &[("t", "a")]).await;
        receive(&*store, &[delivery("t", "1", "k")]).await;
        let old = Worker::new(&*store, "a").await;
        let row = old.fetch().await.remove(0);
        if !configured {
            let renewal = RenewRequest {
                queue: queue("a"),
                instance: old.id(),
                ttl: second,
                register: false,
                in_flight: 1,
            };
            old.store().renew(&renewal).await.expect("renew");
        }
        let mut tx = store.begin_handling().await.expect("begin");
        let effect = format!("create table \"{}\".effect ()", schema.0);
        run(&mut tx, effect).await;
        let marked = store.mark(&mut tx, old.store(), &old.success(&row)).await;
        assert_eq!(marked.expect("a reply"), Settled::Applied);
        // Here the process is paused.
        expire(&schema).await;
        let deadline = Instant::now() + PATIENCE;
        let heir = loop {
            let heir = Worker::new(&*store, "a").await;
            let rows = heir.fetch().await;
            if !rows.is_empty() {
                break heir;
            }
            assert!(Instant::now() < deadline, "the partition is held for ever");
            // Another instance is to find it free.
            expire(&schema).await;
        };
        assert!(store.commit_handling(tx).await.is_err(), "it lost the row");
        let effects = format!(
            "select count(*) from pg_tables where schemaname = '{}'
             and tablename = 'effect'",
            schema.0
        );
        assert_eq!(number(&mut connection().await, effects).await, 0);
        assert_eq!(heir.fetch().await.len(), 1);
    }
}

/// Transactions of the store's own may stand idle for a lease, too: a process that is paused in one
/// keeps the position and the subscriptions locked no longer.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_the_stores_own_are_ended_when_they_stand_idle() {
    let schema = Schema::new();
    let config = schema
        .config()
        .idle_in_transaction_timeout(Duration::from_secs(3));
    let store = schema.store(config).await;
    store.migrate().await.expect("migrate");
    let watch = format!(
        "create table \"{0}\".seen (what text, idle text);
         create function \"{0}\".watch() returns trigger language plpgsql as $$
         begin
           insert into \"{0}\".seen values (tg_table_name,
             pg_catalog.current_setting('idle_in_transaction_session_timeout'));
           return null;
         end $$;
         create trigger watch after update on \"{0}\".source
           for each row execute function \"{0}\".watch();
         create trigger watch after update on \"{0}\".routing
           for each row execute function \"{0}\".watch();
         create trigger watch after insert on \"{0}\".received
           for each row execute function \"{0}\".watch()",
        schema.0
    );
    run(&mut connection().await, watch).await;
    subscribe(&*store, &[("t", "a")]).await;
    let holder = Worker::reading(&*store, &source()).await;
    let ingested = store.ingest(&source(), &one_message(&holder)).await;
    assert!(matches!(ingested, Ok(Ingested::Stored(_))), "{ingested:?}");
    let seen = |what: &str| {
        let of = format!("from \"{}\".seen where what = '{what}'", schema.0);
        format!("select count(*) filter (where idle = '3s') * 100 + count(*) {of}")
    };
    let mut person = connection().await;
    for what in ["source", "routing", "received"] {
        assert_eq!(number(&mut person, seen(what)).await, 101, "{what}");
    }
}

/// Programs that make a source at the same time share one right to read it.
#[tokio::test(flavor = "multi_thread")]
async fn racing_programs_make_one_right_to_read() {
    let schema = Schema::new();
    let store = schema.migrated(16).await;
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.ingest_of(&source()).await.map(drop) })
        })
        .collect();
    for maker in makers {
        maker.await.expect("no panic").expect("a right to read");
    }
    let of = Queue::Ingest(source());
    let count = format!(
        "select count(*) from \"{}\".partition where queue = '{}'",
        schema.0,
        of.name()
    );
    assert_eq!(number(&mut connection().await, count).await, 1);
}
