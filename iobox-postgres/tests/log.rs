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
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iobox_core::{
    ErrorKind,
    message::{Draft, MessageId, OrderingKey},
    queue::Queue,
    store::{
        Admin, Body, Change, Enqueue, Fetched, Filter, Page, Pending, Selection, Settled, State,
        Store, Verdict,
    },
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

/// Messages that do not get done while those behind them do: few are listed by the cursor, many leave the
/// log.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_stuck_are_listed_or_leave_the_log() {
    for (stuck, leave) in [(1, false), (200, false), (300, true)] {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        let owner = Owner::new(&store).await;
        enqueue(&store, &drafts("m", 3_000)).await;
        let fetched = owner.fetch(3_000).await;
        let (stuck, others) = fetched.pending.split_at(stuck);
        for some in others.chunks(100) {
            let settled = owner.settle(some, &DONE).await;
            assert!(settled.iter().all(|one| *one == Settled::Applied));
            let ahead = count(&schema, "select cardinality(ahead)::bigint from {s}.cursor").await;
            assert!(ahead <= AHEAD_MAX, "{ahead} are listed");
        }
        let apart = count(&schema, "select count(*) from {s}.message where state = 0").await;
        let behind = count(
            &schema,
            "select cardinality(behind)::bigint from {s}.cursor",
        )
        .await;
        assert_eq!((apart > 0, behind > 0), (leave, !leave), "{apart} {behind}");
        assert_eq!(pending(&store).await, u64::try_from(stuck.len()).unwrap());
        let again = owner.fetch(3_000).await;
        assert_eq!(ids(&again), stuck.iter().map(id_of).collect::<Vec<_>>());
        // They are the same messages to those who hold them.
        for _ in 0..2 {
            let settled = owner.settle(stuck, &DONE).await;
            assert!(settled.iter().all(|one| *one == Settled::Applied));
        }
        assert_eq!(pending(&store).await, 0);
        let done = "select count(*) from {s}.outbox where state = 'done'";
        assert_eq!(count(&schema, done).await, 3_000);
        // One more, and nothing is behind the cursor any more.
        enqueue(&store, &drafts("last", 1)).await;
        let fetched = owner.fetch(10).await;
        owner.settle(&fetched.pending, &DONE).await;
        let behind = count(
            &schema,
            "select cardinality(behind)::bigint from {s}.cursor",
        )
        .await;
        assert_eq!(behind, 0);
    }
}

/// A key with thousands of messages behind one that died: the others get past, none of the thousands is
/// written, and when the key goes on they come in order, each once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_parked_and_comes_back_in_order() {
    const CROWD: usize = 3_000;
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let odd = |from: usize, to: usize| -> Vec<Draft> {
        (from..to)
            .map(|n| Draft::new("t", "x").id(format!("odd-{n}")).key("odd"))
            .collect()
    };
    enqueue(&store, &odd(0, CROWD)).await;
    enqueue(&store, &drafts("other", 400)).await;
    let head = owner.fetch(1).await.pending;
    let dead = Change::Verdict(Verdict::Dead {
        reason: String::from("no"),
        halts: true,
    });
    assert_eq!(owner.settle(&head, &dead).await, [Settled::Applied]);
    let (mut others, mut aside) = (0, 0);
    for _ in 0..100 {
        let fetched = owner.fetch(100).await;
        aside += fetched.aside.iter().map(|one| one.count).sum::<usize>();
        assert!(ids(&fetched).iter().all(|id| id.starts_with("other")));
        others += fetched.pending.len();
        owner.settle(&fetched.pending, &DONE).await;
        if others == 400 {
            break;
        }
    }
    assert_eq!((others, aside), (400, CROWD - 1));
    let written = "select count(*) from {s}.message where state not in (3, 6)";
    assert!(
        count(&schema, written).await < 256,
        "few of them were written"
    );
    let behind_the_crowd = "select count(*) from {s}.cursor where upto >= (
        select max(seq) from {s}.message where key = 'odd')";
    assert_eq!(count(&schema, behind_the_crowd).await, 1);

    // More of it comes, and waits as well.
    enqueue(&store, &odd(CROWD, CROWD + 50)).await;
    let fetched = owner.fetch(100).await;
    assert!(fetched.pending.is_empty() && !fetched.aside.is_empty());
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert_eq!((stats.pending, stats.dead, stats.halted_keys), (0, 1, 1));
    assert_eq!(stats.waiting, u64::try_from(CROWD + 49).unwrap());
    let mut waiting = Filter::default();
    waiting.states = vec![State::Waiting];
    let mut listed = Vec::new();
    let mut page = Page {
        after: None,
        limit: 1_000,
    };
    loop {
        let some = store.list(&Queue::Outbox, &waiting, page).await.unwrap();
        let Some(last) = some.last() else { break };
        page.after = Some(last.seq);
        listed.extend(some.iter().map(|entry| entry.id.as_str().to_owned()));
    }
    let expected: Vec<String> = (1..CROWD + 50).map(|n| format!("odd-{n}")).collect();
    assert_eq!(listed, expected);
    // One of them is discarded, the head is replayed.
    let one = |id: &str| Selection::One(MessageId::new(id).unwrap());
    let discarded = store.discard(&Queue::Outbox, &one("odd-7"), false).await;
    assert_eq!(discarded.unwrap().count, 1);
    let replayed = store.replay(&Queue::Outbox, &one("odd-0"), false).await;
    assert_eq!(replayed.unwrap().count, 1);

    let mut came = Vec::new();
    for _ in 0..200 {
        release(&owner, &store).await;
        let fetched = owner.fetch(500).await;
        came.extend(ids(&fetched));
        owner.settle(&fetched.pending, &DONE).await;
        let stats = store.stats(&Queue::Outbox).await.unwrap();
        if stats.pending + stats.waiting == 0 {
            break;
        }
    }
    let expected: Vec<String> = (0..CROWD + 50)
        .filter(|n| *n != 7)
        .map(|n| format!("odd-{n}"))
        .collect();
    assert_eq!(came, expected);
    let parked = "select sum(cardinality(parked_keys))::bigint from {s}.cursor";
    assert_eq!(count(&schema, parked).await, 0);
    let done = "select count(*) from {s}.outbox where state = 'done'";
    let all = i64::try_from(CROWD + 50 + 400 - 1).unwrap();
    assert_eq!(count(&schema, done).await, all);
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

/// How many write in the storm, each a key of its own, and which of them comes in crowds.
const WRITERS: u32 = 12;
const CROWDED: u32 = 11;

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
    // One key comes in crowds.
    let most = if key == CROWDED { 400 } else { 1 };
    let mut rng = fastrand::Rng::with_seed(u64::from(key));
    let mut connection = connection().await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        if key == CROWDED {
            tokio::time::sleep(Duration::from_millis(rng.u64(100..700))).await;
        }
        run(&mut connection, "begin").await;
        if rng.u8(..) < 60 {
            run(&mut connection, "select pg_current_xact_id()").await;
        }
        let mut mine = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let draft = |id: &String| Draft::new("t", "x").id(id).key(format_args!("k-{key}"));
            let some: Vec<String> = (0..rng.usize(0..most) + 1)
                .map(|n| format!("{key}-{}", number + n))
                .collect();
            number += some.len();
            let drafts: Vec<Draft> = some.iter().map(draft).collect();
            let savepoint = rng.u8(..) < 40;
            if savepoint {
                run(&mut connection, "savepoint s").await;
            }
            store.enqueue(&mut connection, &drafts).await.unwrap();
            if savepoint && rng.bool() {
                run(&mut connection, "rollback to savepoint s").await;
            } else {
                mine.extend(some);
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
    let crowded = OrderingKey::new(format!("k-{CROWDED}")).unwrap();
    let (started, mut parked) = (Instant::now(), 0);
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
        overtaken(&schema, &fetched, &committed, &done).await;
        // Of each key some rows in order; the crowd is slow now and then, and held.
        let mut heads: Vec<Pending> = Vec::new();
        let mut waits = HashSet::new();
        let mut held: Vec<Pending> = Vec::new();
        let hold = rng.u8(..) < 60;
        for row in fetched.pending {
            assert!(!known.contains(&id_of(&row)), "{} is done", id_of(&row));
            let key = row.key.clone().unwrap();
            if hold && key == crowded && held.len() < 5 {
                held.push(row);
                waits.insert(key);
            } else if waits.contains(&key) || rng.u8(..) < 10 {
                waits.insert(key);
            } else {
                heads.push(row);
            }
        }
        // A failure keeps back what comes behind it.
        let mut failed: Vec<Pending> = Vec::new();
        let mut fine: Vec<Pending> = Vec::new();
        for row in heads {
            let behind = failed.iter().any(|one| one.key == row.key);
            if !behind && rng.u8(..) < 4 {
                failed.push(row);
            } else if !behind {
                fine.push(row);
            }
        }
        let in_order = fine.clone();
        rng.shuffle(&mut fine);
        let duplicate = rng.u8(..) < 20;
        let done_now = Change::Verdict(Verdict::Done { duplicate });
        for _ in 0..rng.usize(1..3) {
            // Twice says the same.
            for settled in owner.settle(&fine, &done_now).await {
                assert_eq!(settled, Settled::Applied);
            }
        }
        for row in &in_order {
            note(row, &mut known, &mut done);
        }
        let retry = Change::Verdict(Verdict::Retry {
            after: Duration::from_millis(rng.u64(0..30)),
            reason: String::from("in the storm"),
        });
        owner.settle(&failed, &retry).await;
        if !held.is_empty() && !failed.iter().any(|one| one.key == held[0].key) {
            // While they are under way, their key is full.
            let mut request = owner.request(50);
            for part in &mut request.partitions {
                if part.partition == held[0].partition {
                    part.held = held.iter().map(|row| row.seq).collect();
                    part.full = vec![crowded.clone()];
                }
            }
            let beside = store.fetch(&request).await.unwrap();
            parked += beside.aside.len();
            for settled in owner.settle(&held, &DONE).await {
                assert_eq!(settled, Settled::Applied);
            }
            for row in &held {
                note(row, &mut known, &mut done);
            }
        }
        release(&owner, &store).await;
        if started.elapsed() >= Duration::from_secs(120) {
            let stats = store.stats(&Queue::Outbox).await.unwrap();
            panic!("it drains: {stats:?}, {} are done", known.len());
        }
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
    assert!(parked > 0, "there were crowds");
}

/// No row comes while an earlier one of its key is committed and not done.
async fn overtaken(
    schema: &Schema,
    fetched: &Fetched,
    committed: &Committed,
    done: &HashMap<u32, Vec<String>>,
) {
    let mut next: HashMap<u32, usize> = HashMap::new();
    let mut wrong = Vec::new();
    for row in &fetched.pending {
        let came = id_of(row);
        let key: u32 = came.split('-').next().unwrap().parse().unwrap();
        let place = next
            .entry(key)
            .or_insert_with(|| done.get(&key).map_or(0, Vec::len));
        let expected = committed.0.lock().unwrap()[&key][*place].clone();
        *place += 1;
        if expected != came {
            wrong.push((expected, came));
        }
    }
    if let Some((expected, came)) = wrong.first() {
        let key = came.split('-').next().unwrap();
        let of_key = |id: &String| id.starts_with(&format!("{key}-"));
        let came_all: Vec<String> = ids(fetched).into_iter().filter(of_key).collect();
        let number: u32 = key.parse().unwrap();
        let done = done.get(&number).map_or(0, Vec::len);
        let open = committed.0.lock().unwrap()[&number][done..].to_vec();
        let mut facts = Vec::new();
        for sql in [
            format!(
                "select m.seq || ' ' || m.state || ' ' || m.xid || ' ' || m.id || ' ' || m.partition
                 from \"{}\".message as m where key = 'k-{key}' order by seq desc limit 40",
                schema.0
            ),
            format!("select k::text from \"{}\".cursor as k", schema.0),
            String::from("select pg_current_snapshot()::text"),
        ] {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .fetch_all(&mut connection().await)
                .await
                .unwrap();
            facts.extend(rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)));
        }
        panic!("{came} comes before {expected}: {came_all:?} of {open:?}: {facts:#?}");
    }
}

fn note(row: &Pending, known: &mut HashSet<String>, done: &mut HashMap<u32, Vec<String>>) {
    let id = id_of(row);
    let key: u32 = id.split('-').next().unwrap().parse().unwrap();
    assert!(known.insert(id.clone()), "{id} is done twice");
    done.entry(key).or_default().push(id);
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
