//! The log: what a cursor takes, and what it leaves.
#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use iobox_core::{
    ErrorKind,
    message::Draft,
    queue::Queue,
    store::{Admin, Body, Change, Enqueue, Fetched, Pending, Settled, Store, Verdict},
};
use iobox_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{DONE, Owner, Schema, connection, enqueue, number, run};

/// How many seqs a cursor may list beside its snapshot.
const AHEAD_MAX: i64 = 1_024;

fn drafts(name: &str, count: usize) -> Vec<Draft> {
    (0..count)
        .map(|n| Draft::new("t", "x").id(format!("{name}-{n}")))
        .collect()
}

fn ids(fetched: &Fetched) -> Vec<String> {
    fetched.pending.iter().map(id_of).collect()
}

fn id_of(row: &Pending) -> String {
    match &row.body {
        Body::Message(message) => message.id().as_str().to_owned(),
        Body::Corrupt(why) => panic!("{why}"),
    }
}

async fn count(schema: &Schema, sql: &str) -> i64 {
    let sql = sql.replace("{s}", &format!("\"{}\"", schema.0));
    number(&mut connection().await, sql).await
}

async fn pending(store: &PostgresStore) -> u64 {
    store.stats(&Queue::Outbox).await.unwrap().pending
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_done_was_not_written_again() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    enqueue(&store, &drafts("m", 200)).await;
    let before = "select sum(('x' || right(md5(m::text), 8))::bit(32)::bigint)::bigint
                  from {s}.message as m";
    let (rows, text) = (
        count(&schema, "select count(*) from {s}.message where state = 6").await,
        count(&schema, before).await,
    );
    assert_eq!(rows, 200);
    let owner = Owner::new(&store).await;
    let fetched = owner.fetch(1_000).await;
    assert_eq!(fetched.pending.len(), 200);
    let settled = owner.settle(&fetched.pending, &DONE).await;
    assert!(settled.iter().all(|one| *one == Settled::Applied));
    assert_eq!(count(&schema, before).await, text, "a row was changed");
    let done = "select count(*) from {s}.outbox where state = 'done'";
    assert_eq!(count(&schema, done).await, 200);
    assert_eq!(pending(&store).await, 0);
    assert!(owner.fetch(1_000).await.pending.is_empty());
    // Nothing is left beside the snapshot.
    let ahead = "select sum(cardinality(ahead))::bigint from {s}.cursor";
    assert_eq!(count(&schema, ahead).await, 0);
}

/// A message of a transaction that commits when messages with higher seqs are done already.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_is_not_lost() {
    for prepared in [false, true] {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        let owner = Owner::new(&store).await;
        let mut late = connection().await;
        run(&mut late, "begin").await;
        store.enqueue(&mut late, &drafts("late", 3)).await.unwrap();
        let name = format!("late-{}", schema.0);
        if prepared {
            // What wakes a relay may stand in the way of PREPARE; nobody sleeps here.
            run(&mut late, format!("prepare transaction '{name}'")).await;
        }
        for round in 0..5 {
            enqueue(&store, &drafts(&format!("early-{round}"), 40)).await;
            let fetched = owner.fetch(100).await;
            assert_eq!(fetched.pending.len(), 40, "what is committed, nothing else");
            owner.settle(&fetched.pending, &DONE).await;
        }
        assert_eq!(pending(&store).await, 0);
        let upto = count(&schema, "select upto from {s}.cursor").await;
        assert!(upto > 3, "the cursor went past the seqs of the late one");
        let commit = if prepared {
            format!("commit prepared '{name}'")
        } else {
            String::from("commit")
        };
        run(&mut late, commit).await;
        assert_eq!(pending(&store).await, 3);
        let fetched = owner.fetch(100).await;
        assert_eq!(ids(&fetched), ["late-0", "late-1", "late-2"]);
        // One of them, then another commit, then the rest.
        owner.settle(&fetched.pending[1..2], &DONE).await;
        enqueue(&store, &drafts("last", 1)).await;
        let fetched = owner.fetch(100).await;
        assert_eq!(ids(&fetched), ["late-0", "late-2", "last-0"]);
        owner.settle(&fetched.pending, &DONE).await;
        assert_eq!(pending(&store).await, 0);
        assert!(owner.fetch(100).await.pending.is_empty());
    }
}

/// A transaction that does not end for long, somewhere in the cluster: the cursor goes on, and no row
/// has to leave the log for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_elsewhere_holds_nothing_up() {
    let schema = Schema::new();
    let store = schema.migrated(2).await;
    let owner = Owner::new(&store).await;
    let mut long = connection().await;
    run(&mut long, "begin; select pg_current_xact_id()").await;
    for round in 0..40 {
        enqueue(&store, &drafts(&format!("r{round}"), 60)).await;
        let fetched = owner.fetch(1_000).await;
        assert_eq!(fetched.pending.len(), 60);
        owner.settle(&fetched.pending, &DONE).await;
    }
    let ahead = "select coalesce(sum(cardinality(ahead)), 0)::bigint from {s}.cursor";
    assert!(count(&schema, ahead).await <= 120, "two rounds at most");
    let apart = "select count(*) from {s}.message where state <> 6";
    assert_eq!(count(&schema, apart).await, 0);
    run(&mut long, "rollback").await;
}

/// A message that does not get done while those behind it do.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_stuck_leaves_the_log() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("m", 3_000)).await;
    let fetched = owner.fetch(3_000).await;
    let (stuck, others) = fetched.pending.split_at(1);
    let mut first_apart = None;
    for (round, some) in others.chunks(100).enumerate() {
        let settled = owner.settle(some, &DONE).await;
        assert!(settled.iter().all(|one| *one == Settled::Applied));
        let ahead = count(&schema, "select cardinality(ahead)::bigint from {s}.cursor").await;
        assert!(ahead <= AHEAD_MAX, "{ahead} are listed");
        let apart = count(&schema, "select count(*) from {s}.message where state = 0").await;
        assert!(apart <= 1 + 100, "{apart} left the log");
        if apart > 0 {
            first_apart.get_or_insert(round);
        }
    }
    assert!(
        first_apart.is_some_and(|round| round >= 10),
        "{first_apart:?}"
    );
    assert_eq!(pending(&store).await, 1);
    assert_eq!(ids(&owner.fetch(10).await), ["m-0"]);
    // It is the same message to those who hold it.
    assert_eq!(owner.settle(stuck, &DONE).await, [Settled::Applied]);
    assert_eq!(owner.settle(stuck, &DONE).await, [Settled::Applied]);
    assert_eq!(pending(&store).await, 0);
    let done = "select count(*) from {s}.outbox where state = 'done'";
    assert_eq!(count(&schema, done).await, 3_000);
}

/// Tables that come from another cluster speak of transactions that mean nothing in this one.
#[tokio::test(flavor = "multi_thread")]
async fn restored_tables_are_refused_until_they_are_migrated_and_lose_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let mut late = connection().await;
    run(&mut late, "begin").await;
    store.enqueue(&mut late, &drafts("late", 2)).await.unwrap();
    enqueue(&store, &drafts("m", 20)).await;
    let fetched = owner.fetch(100).await;
    owner.settle(&fetched.pending[..10], &DONE).await;
    // Out of order, so that some are listed.
    owner.settle(&fetched.pending[15..17], &DONE).await;
    run(&mut late, "commit").await;
    let expected: Vec<String> = ids(&owner.fetch(100).await);
    assert_eq!(expected.len(), 2 + 20 - 12);

    // As in a dump of a cluster that has seen many more transactions.
    let foreign = format!(
        "update \"{0}\".message set xid = (xid::text::bigint + 4000000000)::text::xid8;
         update \"{0}\".cursor set
           ahead_xids = array(select (x::text::bigint + 4000000000)::text::xid8
             from unnest(ahead_xids) as x),
           seen = (
             (pg_snapshot_xmin(seen)::text::bigint + 4000000000) || ':' ||
             (pg_snapshot_xmax(seen)::text::bigint + 4000000000) || ':' ||
             array_to_string(array(select x::text::bigint + 4000000000
               from pg_snapshot_xip(seen) as x), ','))::pg_snapshot;
         update \"{0}\".meta set cluster = cluster + 1",
        schema.0
    );
    run(&mut connection().await, foreign).await;
    let restored = schema.store(schema.config().partitions(1)).await;
    let error = restored.verify().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("another cluster"), "{error}");
    restored.migrate().await.unwrap();
    restored.verify().await.unwrap();

    assert_eq!(ids(&owner.fetch(100).await), expected);
    enqueue(&store, &drafts("new", 5)).await;
    let fetched = owner.fetch(100).await;
    assert_eq!(fetched.pending.len(), expected.len() + 5);
    let settled = owner.settle(&fetched.pending, &DONE).await;
    assert!(settled.iter().all(|one| *one == Settled::Applied));
    assert_eq!(pending(&store).await, 0);
    assert!(owner.fetch(100).await.pending.is_empty());
    let done = "select count(*) from {s}.outbox where state = 'done'";
    assert_eq!(count(&schema, done).await, 2 + 20 + 5);
}

/// What the writers of the storm have committed, by key in the order of their commits.
#[derive(Default)]
struct Committed(Mutex<BTreeMap<u32, Vec<String>>>);

/// Transactions of all kinds: short and long, some that take their xid early, some with savepoints that
/// are rolled back, some prepared, a tenth rolled back.
async fn write(
    store: Arc<PostgresStore>,
    committed: Arc<Committed>,
    key: u32,
    stop: Arc<AtomicBool>,
) {
    let mut rng = fastrand::Rng::with_seed(u64::from(key));
    let mut connection = connection().await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        run(&mut connection, "begin").await;
        if rng.u8(..) < 60 {
            run(&mut connection, "select pg_current_xact_id()").await;
        }
        let mut mine = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let draft = |id: &str| Draft::new("t", "x").id(id).key(format_args!("k-{key}"));
            let id = format!("{key}-{number}");
            number += 1;
            let savepoint = rng.u8(..) < 40;
            if savepoint {
                run(&mut connection, "savepoint s").await;
            }
            store.enqueue(&mut connection, &[draft(&id)]).await.unwrap();
            if savepoint && rng.bool() {
                run(&mut connection, "rollback to savepoint s").await;
            } else {
                mine.push(id);
            }
            if rng.u8(..) < 30 {
                tokio::time::sleep(Duration::from_millis(rng.u64(1..200))).await;
            }
        }
        if rng.u8(..) < 25 {
            run(&mut connection, "rollback").await;
            continue;
        }
        // Before the commit, which nobody else may overtake: a key has one writer.
        if rng.u8(..) < 20 {
            let name = format!("storm-{key}-{number}-{:p}", Arc::as_ptr(&committed));
            run(&mut connection, format!("prepare transaction '{name}'")).await;
            tokio::time::sleep(Duration::from_millis(rng.u64(1..50))).await;
            committed
                .0
                .lock()
                .unwrap()
                .entry(key)
                .or_default()
                .extend(mine);
            run(&mut connection, format!("commit prepared '{name}'")).await;
        } else {
            committed
                .0
                .lock()
                .unwrap()
                .entry(key)
                .or_default()
                .extend(mine);
            run(&mut connection, "commit").await;
        }
    }
}

/// An owner that settles what it fetched in any order, late, twice, or as a failure, and takes messages
/// of a key in turn. What it was told is done must never come again, and everything must come.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_comes_twice_in_a_storm() {
    const WRITERS: u32 = 12;
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let stop = Arc::new(AtomicBool::new(false));
    let committed = Arc::new(Committed::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|key| {
            let (store, committed, stop) = (
                Arc::clone(&store),
                Arc::clone(&committed),
                Arc::clone(&stop),
            );
            tokio::spawn(write(store, committed, key, stop))
        })
        .collect();
    let owner = Owner::new(&store).await;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut done: HashMap<u32, Vec<String>> = HashMap::new();
    let mut known: HashSet<String> = HashSet::new();
    let (started, written) = (Instant::now(), AtomicUsize::new(0));
    loop {
        if started.elapsed() > Duration::from_secs(8) {
            stop.store(true, Ordering::Relaxed);
        }
        let finished = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let fetched = owner.fetch(rng.usize(1..300)).await;
        if finished && fetched.pending.is_empty() && fetched.aside.is_empty() {
            let stats = store.stats(&Queue::Outbox).await.unwrap();
            if stats.pending + stats.retrying + stats.waiting == 0 {
                break;
            }
        }
        let mut heads: Vec<Pending> = Vec::new();
        let mut keys = HashSet::new();
        for row in fetched.pending {
            assert!(!known.contains(&id_of(&row)), "{} is done", id_of(&row));
            // The first of each key, as the machine does.
            if keys.insert(row.key.clone()) && rng.u8(..) < 200 {
                heads.push(row);
            }
        }
        rng.shuffle(&mut heads);
        let (failed, fine): (Vec<_>, Vec<_>) = heads.into_iter().partition(|_| rng.u8(..) < 20);
        let duplicate = rng.u8(..) < 20;
        let done_now = Change::Verdict(Verdict::Done { duplicate });
        for _ in 0..rng.usize(1..3) {
            // Twice says the same.
            for settled in owner.settle(&fine, &done_now).await {
                assert_eq!(settled, Settled::Applied);
            }
        }
        for row in &fine {
            let id = id_of(row);
            let key: u32 = id.split('-').next().unwrap().parse().unwrap();
            assert!(known.insert(id.clone()));
            done.entry(key).or_default().push(id);
            written.fetch_add(1, Ordering::Relaxed);
        }
        let retry = Change::Verdict(Verdict::Retry {
            after: Duration::from_millis(rng.u64(0..30)),
            reason: String::from("in the storm"),
        });
        owner.settle(&failed, &retry).await;
        release(&owner, &store).await;
        assert!(started.elapsed() < Duration::from_secs(120), "it drains");
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let committed = committed.0.lock().unwrap();
    assert!(
        committed.values().map(Vec::len).sum::<usize>() > 300,
        "it was a storm"
    );
    for (key, ids) in committed.iter() {
        assert_eq!(done.get(key), Some(ids), "key {key}");
    }
    assert_eq!(written.load(Ordering::Relaxed), known.len());
}

/// Releases followers, as the sweep of the machine does.
async fn release(owner: &Owner, store: &PostgresStore) {
    let mut request = owner.request(0);
    for part in &mut request.partitions {
        part.sweep = true;
    }
    store.fetch(&request).await.unwrap();
}

/// Purging removes the oldest of the log, bounded, and keeps what is young.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_purged_in_bounded_steps() {
    let schema = Schema::new();
    let store = schema.migrated(2).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("m", 100)).await;
    let fetched = owner.fetch(1_000).await;
    owner.settle(&fetched.pending[..90], &DONE).await;
    let purge = async |limit| {
        store
            .purge(&Queue::Outbox, Duration::ZERO, limit)
            .await
            .unwrap()
    };
    let mut removed = Vec::new();
    loop {
        match purge(32).await {
            0 => break,
            some => removed.push(some),
        }
    }
    assert_eq!(removed.iter().sum::<u64>(), 90);
    assert!(removed.iter().all(|&some| some <= 32), "{removed:?}");
    assert_eq!(count(&schema, "select count(*) from {s}.settled").await, 0);
    assert_eq!(pending(&store).await, 10);
    assert_eq!(owner.fetch(100).await.pending.len(), 10);
}

/// The application's role needs no more than its tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_privileges_may_open_the_store() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let mut person = connection().await;
    let role = format!("r_{}", schema.0);
    run(
        &mut person,
        format!(
            "create role \"{role}\"; grant usage on schema \"{0}\" to \"{role}\";
             grant select on all tables in schema \"{0}\" to \"{role}\"",
            schema.0
        ),
    )
    .await;
    let mut restricted: PgConnection = connection().await;
    run(&mut restricted, format!("set role \"{role}\"")).await;
    let one = number(
        &mut restricted,
        format!(
            "select count(*) from \"{}\".meta, pg_control_system() as c
             where cluster = c.system_identifier",
            schema.0
        ),
    )
    .await;
    restricted.close().await.unwrap();
    let drop = format!("drop owned by \"{role}\"; drop role \"{role}\"");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut person)
        .await
        .unwrap();
    assert_eq!(one, 1);
    store.close().await;
}
