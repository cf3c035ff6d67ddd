//! Cancellation: sqlx 0.9.0 loses track of a transaction whose `begin` is dropped in the middle.
//! The store never begins one, and its calls may be dropped anywhere.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use iobox_core::{
    message::Draft,
    queue::Queue,
    store::{AcquireRequest, Admin, InstanceId, ReleaseRequest, RenewRequest, Settled, Store},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::support::{DONE, Owner, Schema, connection, enqueue, number, options};

/// Polls `future` up to `polls` times, with time for the server to answer in between, and drops it.
/// Returns what it resolved to, if it did.
async fn drop_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

/// How many sessions of this name stand in a transaction.
async fn open_transactions(application: &str) -> i64 {
    // A dropped call may still be running; what it leaves behind is looked at when it has ended.
    let mut person = connection().await;
    loop {
        let active = format!(
            "select count(*) from pg_stat_activity
             where application_name = '{application}' and state = 'active'"
        );
        if number(&mut person, active).await == 0 {
            break;
        }
    }
    let idle = format!(
        "select count(*) from pg_stat_activity
         where application_name = '{application}' and state like 'idle in transaction%'"
    );
    number(&mut person, idle).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_begin_leaves_a_transaction_open() {
    let name = format!("victim-{}", Uuid::now_v7().simple());
    let mut found = 0;
    // Whether a drop meets the moment between the statement and its answer is a matter of luck.
    for polls in (0..40).flat_map(|_| 1..=50) {
        if found > 0 {
            break;
        }
        let pool: PgPool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options().application_name(&name))
            .await
            .unwrap();
        drop(drop_after(pool.begin(), polls).await);
        // The next borrower believes that his statements commit by themselves.
        let mut next = pool.acquire().await.unwrap();
        sqlx::query("select 1").execute(&mut *next).await.unwrap();
        found += open_transactions(&name).await;
        drop(next);
        pool.close().await;
    }
    assert!(
        found > 0,
        "the driver no longer shows the bug that the pool of this crate guards against: \
         remove the guard, and this test"
    );
}

/// Drops each call of a store at each of its first 50 polls, then looks from outside.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_the_store_leaves_a_transaction_open() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let drafts: Vec<_> = (0..60).map(|n| Draft::new("t", format!("{n}"))).collect();
    enqueue(&store, &drafts).await;
    let owner = Owner::new(&store).await;
    let rows = owner.fetch(100).await.pending;
    let sessions = format!(
        "select count(*) from pg_stat_activity where application_name = 'iobox'
           and state like 'idle in transaction%' and query like '%\"{}\"%'",
        schema.0
    );
    let queue = Queue::Outbox;
    let request = owner.request(10);
    let renewal = RenewRequest {
        queue: queue.clone(),
        instance: owner.instance,
        ttl: Duration::from_secs(60),
        register: true,
        in_flight: 0,
    };
    let granted = owner.granted.iter();
    let held = granted
        .map(|grant| (grant.partition, grant.epoch))
        .collect();
    let acquisition = AcquireRequest {
        queue: queue.clone(),
        instance: owner.instance,
        held,
    };
    let release = ReleaseRequest {
        queue: queue.clone(),
        instance: InstanceId::new(Uuid::now_v7()),
        partitions: Vec::new(),
        leave: true,
    };
    for (polls, row) in (1..=50).zip(&rows) {
        let settlement = [owner.settlement(row, DONE)];
        drop(drop_after(store.fetch(&request), polls).await);
        drop(drop_after(store.settle(&settlement), polls).await);
        drop(drop_after(store.renew(&renewal), polls).await);
        drop(drop_after(store.acquire(&acquisition), polls).await);
        drop(drop_after(store.release(&release), polls).await);
        drop(drop_after(store.purge(&queue, Duration::from_secs(3_600), 10), polls).await);
        drop(drop_after(store.stats(&queue), polls).await);
        drop(drop_after(store.verify(), polls).await);
        assert_eq!(
            number(&mut connection().await, sessions.clone()).await,
            0,
            "dropped at poll {polls}"
        );
        // Repeating the dropped settle records it or finds it recorded.
        assert_eq!(store.settle(&settlement).await.unwrap(), [Settled::Applied]);
        let done = format!(
            "select count(*) from \"{}\".outbox where state = 'done' and seq = {}",
            schema.0, row.seq.0
        );
        assert_eq!(
            number(&mut connection().await, done).await,
            1,
            "it is visible"
        );
    }
}

/// The same with a pool of the smallest size, all calls at once.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_calls_do_not_use_up_the_pool() {
    let schema = Schema::new();
    let store = schema
        .store(schema.config().pool_size(2).partitions(1))
        .await;
    store.migrate().await.unwrap();
    let owner = Arc::new(Owner::new(&store).await);
    for polls in 1..=30 {
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let owner = Arc::clone(&owner);
                tokio::spawn(async move {
                    let request = owner.request(10);
                    drop(drop_after(owner.store.fetch(&request), polls).await);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    assert!(owner.fetch(10).await.pending.is_empty());
}
