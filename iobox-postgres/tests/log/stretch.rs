//! Stretches that are done as a whole, and what only looks like one.

use std::sync::Arc;

use iobox_core::{
    message::{Draft, MessageId},
    queue::Queue,
    store::{Admin, Enqueue, Selection},
};
use iobox_postgres::PostgresStore;

use crate::{
    count, dead, done, drafts, ids, pending, settle, settle_all,
    support::{Owner, Schema, connection, enqueue, run},
};

/// The same owner by way of another store, which remembers other fetches.
fn by(store: &Arc<PostgresStore>, owner: &Owner) -> Owner {
    Owner {
        store: Arc::clone(store),
        instance: owner.instance,
        granted: owner.granted.clone(),
    }
}

/// Lets the next message have the seq behind this one.
async fn draw(schema: &Schema, seq: i64) {
    let sql = format!("select setval('\"{}\".message_seq', {seq})", schema.0);
    run(&mut connection().await, sql).await;
}

/// Of three messages that came late and five new ones the new ones are settled first.
async fn the_late_ones_stay(owner: &Owner) {
    let fetched = owner.fetch(100).await;
    assert_eq!(fetched.pending.len(), 8);
    settle(owner, &fetched.pending[3..]).await;
    assert_eq!(pending(&owner.store).await, 3);
    let again = owner.fetch(100).await;
    assert_eq!(ids(&again), ["late-0", "late-1", "late-2"]);
    settle(owner, &again.pending).await;
    assert_eq!(pending(&owner.store).await, 0);
}

/// Messages of a transaction that was under way when the cursor went past their seqs, and that are
/// fetched and not settled while what comes behind them is.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_does_not_cover_what_was_committed_late() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let mut late = connection().await;
    run(&mut late, "begin").await;
    store.enqueue(&mut late, &drafts("late", 3)).await.unwrap();
    enqueue(&store, &drafts("early", 5)).await;
    settle(&owner, &owner.fetch(100).await.pending).await;
    run(&mut late, "commit").await;
    enqueue(&store, &drafts("new", 5)).await;
    the_late_ones_stay(&owner).await;
}

/// Messages whose seqs were drawn long before their transaction took its id, behind the snapshot of the
/// cursor and below its seq.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_does_not_cover_seqs_that_were_drawn_early() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    draw(&schema, 1_000).await;
    enqueue(&store, &drafts("early", 5)).await;
    settle(&owner, &owner.fetch(100).await.pending).await;
    draw(&schema, 100).await;
    enqueue(&store, &drafts("late", 3)).await;
    draw(&schema, 2_000).await;
    enqueue(&store, &drafts("new", 5)).await;
    the_late_ones_stay(&owner).await;
}

/// What is settled was fetched by another store, so that no snapshot at hand shows all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_stays_within_what_its_snapshot_shows() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let other = schema.store(schema.config().partitions(1)).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("a", 3)).await;
    assert_eq!(owner.fetch(100).await.pending.len(), 3);
    enqueue(&store, &drafts("b", 3)).await;
    let rows = by(&other, &owner).fetch(100).await.pending;
    assert_eq!(rows.len(), 6);
    settle(&owner, &rows).await;
    assert_eq!(pending(&store).await, 0);
    assert!(owner.fetch(100).await.pending.is_empty());
    assert_eq!(done(&schema).await, 6);
}

/// The cursor has seen more than the snapshot that a store remembers: messages of a transaction that was
/// under way in that snapshot, and of one that took its id after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_does_not_take_the_cursor_back() {
    for under_way in [true, false] {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        let other = schema.store(schema.config().partitions(1)).await;
        let owner = Owner::new(&store).await;
        let mut late = connection().await;
        if under_way {
            run(&mut late, "begin").await;
            store.enqueue(&mut late, &drafts("late", 2)).await.unwrap();
        } else {
            draw(&schema, 1_000).await;
        }
        enqueue(&store, &drafts("early", 3)).await;
        let early = owner.fetch(100).await.pending;
        assert_eq!(early.len(), 3);
        if under_way {
            run(&mut late, "commit").await;
        } else {
            draw(&schema, 100).await;
            enqueue(&store, &drafts("late", 2)).await;
        }
        let elsewhere = by(&other, &owner);
        let all = elsewhere.fetch(100).await;
        assert_eq!(ids(&all)[..2], ["late-0", "late-1"]);
        settle(&elsewhere, &all.pending[..2]).await;
        settle(&owner, &early).await;
        assert_eq!(pending(&store).await, 0);
        assert!(owner.fetch(100).await.pending.is_empty());
    }
}

/// Messages of a parked key lie between those of others, which are settled as a whole: the cursor goes past
/// them, and they wait as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_goes_past_what_waits() {
    const CROWD: usize = 2_000;
    const BETWEEN: usize = 60;
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let odd = |n: usize| Draft::new("t", "x").id(format!("odd-{n}")).key("odd");
    let crowd: Vec<Draft> = (0..CROWD).map(odd).collect();
    enqueue(&store, &crowd).await;
    let head = owner.fetch(1).await.pending;
    owner.settle(&head, &dead()).await;
    assert!(owner.fetch(100).await.pending.is_empty());
    let parked = "select coalesce(sum(cardinality(parked_keys)), 0)::bigint from {s}.cursor";
    assert_eq!(count(&schema, parked).await, 1);

    let mixed: Vec<Draft> = (0..BETWEEN)
        .flat_map(|n| {
            let other = Draft::new("t", "x").id(format!("other-{n}")).key("other");
            [odd(CROWD + 2 * n), other, odd(CROWD + 2 * n + 1)]
        })
        .collect();
    enqueue(&store, &mixed).await;
    let mut others = 0;
    while others < BETWEEN {
        let fetched = owner.fetch(20).await;
        assert!(ids(&fetched).iter().all(|id| id.starts_with("other")));
        others += fetched.pending.len();
        settle(&owner, &fetched.pending).await;
    }
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    let waiting = u64::try_from(CROWD - 1 + 2 * BETWEEN).unwrap();
    assert_eq!((stats.pending, stats.waiting), (0, waiting));
    assert_eq!(done(&schema).await, i64::try_from(BETWEEN).unwrap());

    let head = Selection::One(MessageId::new("odd-0").unwrap());
    store.replay(&Queue::Outbox, &head, false).await.unwrap();
    let came = settle_all(&owner, &store).await;
    let expected: Vec<String> = (0..CROWD + 2 * BETWEEN)
        .map(|n| format!("odd-{n}"))
        .collect();
    assert_eq!(came, expected);
}
