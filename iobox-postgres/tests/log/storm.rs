//! A storm of writers, and an owner that settles in any way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iobox_core::{
    message::{Draft, OrderingKey},
    queue::Queue,
    store::{Admin, Change, Enqueue, Fetched, Pending, Settled, Store, Verdict},
};
use iobox_postgres::PostgresStore;
use sqlx::AssertSqlSafe;
use tokio::sync::Semaphore;

use crate::{
    id_of, ids, release,
    support::{DONE, Owner, Schema, connection, run},
};

/// How many write in the storm, each a key of its own, and which of them comes in crowds.
const WRITERS: u32 = 12;
const CROWDED: u32 = 11;

/// How many of them may have a prepared transaction at a time: a server has room for few.
static PREPARED: Semaphore = Semaphore::const_new(4);

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
            let _room = PREPARED.acquire().await.unwrap();
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
