//! The inbox: whoever lost his lease cannot commit, and who is slow keeps nobody else waiting.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::time::{Duration, Instant};

use iobox_core::{
    ErrorKind, Inbox, Router,
    store::{Receive, Settled, Subscribe, Transact},
};
use iobox_postgres::PostgresStore;
use iobox_testkit::suite::{
    inbox::support::{Worker, delivery, inbox, name, quick, receive, source, stats, subscribe},
    support::PATIENCE,
};
use sqlx::Connection;
use tokio::sync::watch;

use crate::support::{
    Schema, connection,
    effect::{Effect, HANDLERS, effect_table, effects, insert},
    number, run,
};

/// The levels of a transaction that a caller may bring.
const LEVELS: [&str; 3] = [
    "begin isolation level read committed",
    "begin isolation level repeatable read",
    "begin isolation level serializable",
];

/// A worker that lost its partition in the middle of its handler cannot commit its effects, at any
/// level; the one that took it over can.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_cannot_commit() {
    for (level, begin) in LEVELS.into_iter().enumerate() {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        effect_table(&schema).await;
        subscribe(&*store, &[("t", "a")]).await;
        receive(&*store, &[delivery("t", "1", "k")]).await;
        let old = Worker::new(&*store, "a").await;
        let row = old.fetch().await.remove(0);
        let mut session = connection().await;
        let mut tx = session.begin_with(begin).await.expect("begin");
        insert(&mut tx, &schema.0, "a", "old").await;
        let expired = format!("update \"{}\".instance set expires = now()", schema.0);
        run(&mut connection().await, expired).await;
        let new = Worker::new(&*store, "a").await;
        let taken = new.fetch().await.remove(0);
        let marked = store.mark(&mut tx, old.store(), &old.success(&row)).await;
        match level {
            0 => assert_eq!(marked.expect("a reply"), Settled::LeaseLost),
            _ => assert_eq!(marked.expect_err("no reply").kind(), ErrorKind::Conflict),
        }
        drop(tx);
        let mut session = connection().await;
        let mut tx = session.begin_with(begin).await.expect("begin");
        insert(&mut tx, &schema.0, "a", "new").await;
        let marked = store.mark(&mut tx, new.store(), &new.success(&taken)).await;
        assert_eq!(marked.expect("a reply"), Settled::Applied);
        tx.commit().await.expect("commit");
        assert_eq!(effects(&schema.0, "id = 'new'").await, (1, 1));
        assert_eq!(effects(&schema.0, "true").await, (1, 1));
    }
}

/// Renewals while a handler runs do not fail its mark, and from the mark to the COMMIT nobody can take
/// the partition.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_pass_and_takeovers_wait_for_the_commit() {
    for begin in LEVELS {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        effect_table(&schema).await;
        subscribe(&*store, &[("t", "a")]).await;
        receive(&*store, &[delivery("t", "1", "k")]).await;
        let worker = Worker::new(&*store, "a").await;
        let row = worker.fetch().await.remove(0);
        let mut session = connection().await;
        let mut tx = session.begin_with(begin).await.expect("begin");
        insert(&mut tx, &schema.0, "a", "1").await;
        for _ in 0..3 {
            let later = "expires = expires + interval '1 second'";
            let renewed = format!("update \"{}\".instance set {later}", schema.0);
            run(&mut connection().await, renewed).await;
        }
        let marked = store
            .mark(&mut tx, worker.store(), &worker.success(&row))
            .await;
        assert_eq!(marked.expect("a reply"), Settled::Applied);
        let expired = format!("update \"{}\".instance set expires = now()", schema.0);
        run(&mut connection().await, expired).await;
        // It finds the partition locked and gets nothing.
        let heir = Worker::new(&*store, "a").await;
        assert!(heir.fetch().await.is_empty());
        tx.commit().await.expect("commit");
        let heir = Worker::new(&*store, "a").await;
        assert!(heir.fetch().await.is_empty(), "it was handled");
        assert_eq!(stats(&*store, "a").await.pending, 0);
        assert_eq!(effects(&schema.0, "true").await, (1, 1));
    }
}

/// Above READ COMMITTED a reception that does not see a subscription that was committed meanwhile is a
/// conflict: stored without it, the message would be missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_reception_on_an_older_snapshot_is_a_conflict() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let one = [delivery("t", "1", "")];
    for (level, begin) in LEVELS.into_iter().enumerate() {
        let mut session = connection().await;
        let mut tx = session.begin_with(begin).await.expect("begin");
        assert_eq!(number(&mut tx, "select 1::bigint").await, 1);
        let handler = format!("h{level}");
        subscribe(&*store, &[("t", handler.as_str())]).await;
        let received = store.receive_in(&mut tx, &source(), &one).await;
        if level == 0 {
            received.expect("it sees the subscription");
            tx.rollback().await.expect("rollback");
        } else {
            let error = received.expect_err("an older snapshot");
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
    }
    assert_eq!(store.unrouted().await.expect("a count"), 0);
}

/// Callers at every level see the same: what they receive and admit is there if they commit, and known
/// the second time.
#[tokio::test(flavor = "multi_thread")]
async fn callers_at_every_level_receive_and_admit_alike() {
    let mut seen = Vec::new();
    for begin in LEVELS {
        let schema = Schema::new();
        let store = schema.migrated(4).await;
        subscribe(&*store, &[("t", "a")]).await;
        let all = [
            delivery("t", "1", "k"),
            delivery("t", "2", ""),
            delivery("u", "3", ""),
        ];
        let id = all[0].message().id().clone();
        let origin = all[0].message().origin();
        let mut told = Vec::new();
        for commits in [false, true, true] {
            let mut session = connection().await;
            let mut tx = session.begin_with(begin).await.expect("begin");
            let received = store.receive_in(&mut tx, &source(), &all).await;
            let admitted = store
                .admit(&mut tx, &source(), &name("b"), origin, &id)
                .await;
            told.push(format!(
                "{:?} {:?}",
                received.expect("receive"),
                admitted.expect("admit")
            ));
            if commits {
                tx.commit().await.expect("commit");
            } else {
                tx.rollback().await.expect("rollback");
            }
            let unrouted = store.unrouted().await.expect("a count");
            told.push(format!("{} {unrouted}", stats(&*store, "a").await.pending));
        }
        assert_eq!(
            (told[1].as_str(), told[3].as_str(), told[5].as_str()),
            ("0 0", "2 1", "2 1")
        );
        assert_eq!(told[0], told[2], "a rollback leaves nothing");
        assert_ne!(told[2], told[4], "the second time it is known");
        seen.push(told);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// A handler that runs for longer than three leases commits when nobody takes over. When somebody does,
/// one set of effects commits. Other keys and other handlers go on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_transactional_handler_commits_once() {
    for taken in [false, true] {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        effect_table(&schema).await;
        let gate = watch::Sender::new(taken);
        let build = |pause: u64| {
            let pause = Duration::from_millis(pause);
            let effect = Effect::new(&schema.0, "a", pause).slow_for("slow", gate.subscribe());
            let started = effect.started.subscribe();
            let mut router = Router::new();
            router.on_tx("t", "a", effect);
            router.on_tx("t", "b", Effect::new(&schema.0, "b", Duration::ZERO));
            let ttl = Duration::from_secs(1);
            let inbox = Inbox::builder(PostgresStore::clone(&store), router).time_to_live(ttl);
            (inbox.build().expect("an inbox"), started)
        };
        let (slow, mut started) = build(3_500);
        slow.subscribe().await.expect("subscribe");
        receive(&*store, &[delivery("t", "slow", "k")]).await;
        let first = slow.spawn();
        let running = started.wait_for(|count| *count == 1).await;
        assert_eq!(*running.expect("it runs"), 1);
        let second = if taken {
            // As if the first instance had lost its lease without noticing.
            let lost = format!(
                "update \"{}\".partition set owner = null where queue = 'inbox/a'",
                schema.0
            );
            let (quick, _) = build(10);
            let handle = quick.spawn();
            run(&mut connection().await, lost).await;
            Some(handle)
        } else {
            None
        };
        let others = [delivery("t", "2", "l"), delivery("t", "3", "")];
        receive(&*store, &others).await;
        let deadline = Instant::now() + PATIENCE;
        while effects(&schema.0, "id <> 'slow'").await != (4, 2) {
            assert!(Instant::now() < deadline, "other keys are blocked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if !taken {
            let slow = effects(&schema.0, "id = 'slow' and handler = 'a'").await;
            assert_eq!(slow, (0, 0), "the others did not wait for it");
            gate.send_replace(true);
        }
        first.wait_until_empty(PATIENCE).await.expect("all handled");
        // The first one has come to its end, too.
        first.drain().await.expect("a drain");
        if let Some(second) = second {
            second.drain().await.expect("a drain");
        }
        for handler in HANDLERS {
            let of = format!("handler = '{handler}'");
            assert_eq!(effects(&schema.0, &of).await, (3, 3), "{handler}");
        }
    }
}

/// A reception that is dropped at any moment leaves its messages stored or not stored, for every
/// handler, and no session in an open transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reception_is_done_or_not_done() {
    const ROUNDS: u64 = 60;
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    subscribe(&*store, &[("t", "a"), ("t", "b")]).await;
    let from = source();
    for round in 0..ROUNDS {
        let two = [0, 1].map(|n| delivery("t", &format!("{round}-{n}"), "k"));
        let limit = Duration::from_micros(round * 60);
        drop(tokio::time::timeout(limit, store.receive(&from, &two)).await);
    }
    // Whatever is under way ends; then everything can be stored that was not.
    for round in 0..ROUNDS {
        let two = [0, 1].map(|n| delivery("t", &format!("{round}-{n}"), "k"));
        receive(&*store, &two).await;
    }
    for handler in HANDLERS {
        assert_eq!(
            stats(&*store, handler).await.pending,
            2 * ROUNDS,
            "{handler}"
        );
    }
    assert!(
        store
            .retire(&name("b"))
            .await
            .expect("nobody holds the lock")
    );
}

/// More handlers than connections wait for each other without burning attempts, however slow they are.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_connection_is_no_attempt() {
    const MESSAGES: usize = 12;
    let schema = Schema::new();
    let timeout = Duration::from_millis(300);
    let config = schema.config().pool_size(4).pool_timeout(timeout);
    let store = schema.store(config).await;
    store.migrate().await.expect("migrate");
    effect_table(&schema).await;
    let mut router = Router::new();
    let effect = Effect::new(&schema.0, "a", Duration::from_millis(700));
    router.on_tx("t", "a", effect).policy(quick(1));
    let inbox = inbox(&*store, router);
    inbox.subscribe().await.expect("subscribe");
    let all: Vec<_> = (0..MESSAGES)
        .map(|n| delivery("t", &n.to_string(), ""))
        .collect();
    receive(&*store, &all).await;
    let handle = inbox.spawn();
    handle
        .wait_until_empty(PATIENCE)
        .await
        .expect("all handled");
    handle.drain().await.expect("a drain");
    let wanted = i64::try_from(MESSAGES).expect("small");
    assert_eq!(effects(&schema.0, "true").await, (wanted, wanted));
    assert_eq!(stats(&*store, "a").await.dead, 0);
}

/// What is begun inside of a transaction of a handler is a savepoint, on a connection that was just
/// opened and on one that is used again, also after a transaction that was rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_begun_inside_of_a_handler_is_a_savepoint() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    effect_table(&schema).await;
    for round in ["1", "2", "3", "4"] {
        let mut open = store.begin_handling().await.expect("begin");
        insert(&mut open, &schema.0, "outer", round).await;
        let mut inner = open.begin().await.expect("a savepoint");
        insert(&mut inner, &schema.0, "undone", round).await;
        inner.rollback().await.expect("a rollback");
        let mut inner = open.begin().await.expect("a savepoint");
        insert(&mut inner, &schema.0, "inner", round).await;
        inner.commit().await.expect("released");
        assert_eq!(effects(&schema.0, &format!("id = '{round}'")).await, (0, 0));
        if round == "2" {
            drop(open);
        } else {
            store.commit_handling(open).await.expect("commit");
        }
    }
    assert_eq!(effects(&schema.0, "handler = 'outer'").await, (3, 3));
    assert_eq!(effects(&schema.0, "handler = 'inner'").await, (3, 3));
    assert_eq!(effects(&schema.0, "handler = 'undone'").await, (0, 0));
    assert_eq!(effects(&schema.0, "id = '2'").await, (0, 0));
}
