//! What a cursor takes, and what it leaves.

use std::time::Duration;

use iobox_core::{
    queue::Queue,
    store::{Admin, Enqueue},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    count, done, drafts, id_of, ids, pending, settle,
    support::{Owner, Schema, connection, enqueue, number, run},
};

/// How many seqs a cursor may list beside its snapshot.
const AHEAD_MAX: i64 = 1_024;

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
    settle(&owner, &fetched.pending).await;
    assert_eq!(count(&schema, before).await, text, "a row was changed");
    assert_eq!(done(&schema).await, 200);
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
            settle(&owner, &fetched.pending).await;
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
        settle(&owner, &fetched.pending[1..2]).await;
        enqueue(&store, &drafts("last", 1)).await;
        let fetched = owner.fetch(100).await;
        assert_eq!(ids(&fetched), ["late-0", "late-2", "last-0"]);
        settle(&owner, &fetched.pending).await;
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
        settle(&owner, &fetched.pending).await;
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
            settle(&owner, some).await;
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
            settle(&owner, stuck).await;
        }
        assert_eq!(pending(&store).await, 0);
        assert_eq!(done(&schema).await, 3_000);
        // One more, and nothing is behind the cursor any more.
        enqueue(&store, &drafts("last", 1)).await;
        let fetched = owner.fetch(10).await;
        settle(&owner, &fetched.pending).await;
        let behind = count(
            &schema,
            "select cardinality(behind)::bigint from {s}.cursor",
        )
        .await;
        assert_eq!(behind, 0);
    }
}

/// Purging removes the oldest of the log, bounded, and keeps what is young.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_purged_in_bounded_steps() {
    let schema = Schema::new();
    let store = schema.migrated(2).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("m", 100)).await;
    let fetched = owner.fetch(1_000).await;
    settle(&owner, &fetched.pending[..90]).await;
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
