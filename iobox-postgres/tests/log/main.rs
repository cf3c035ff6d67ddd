//! The log: what a cursor takes, what it leaves, and whom it parks.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod cursor;
mod hand;
mod restore;
mod spill;
mod storm;
mod stretch;

use std::sync::Arc;

use iobox_core::{
    Result,
    message::Draft,
    queue::Queue,
    store::{Admin, Body, Change, Fetched, Pending, Settled, Store, Verdict},
};
use iobox_postgres::PostgresStore;
use tokio::task::JoinHandle;

use crate::support::{DONE, Owner, Schema, connection, number};

pub(crate) fn drafts(name: &str, count: usize) -> Vec<Draft> {
    (0..count)
        .map(|n| Draft::new("t", "x").id(format!("{name}-{n}")))
        .collect()
}

pub(crate) fn ids(fetched: &Fetched) -> Vec<String> {
    fetched.pending.iter().map(id_of).collect()
}

pub(crate) fn id_of(row: &Pending) -> String {
    match &row.body {
        Body::Message(message) => message.id().as_str().to_owned(),
        Body::Corrupt(why) => panic!("{why}"),
    }
}

pub(crate) async fn count(schema: &Schema, sql: &str) -> i64 {
    let sql = sql.replace("{s}", &format!("\"{}\"", schema.0));
    number(&mut connection().await, sql).await
}

pub(crate) async fn pending(store: &PostgresStore) -> u64 {
    store.stats(&Queue::Outbox).await.unwrap().pending
}

/// How many messages people see as done.
pub(crate) async fn done(schema: &Schema) -> i64 {
    count(
        schema,
        "select count(*) from {s}.outbox where state = 'done'",
    )
    .await
}

/// Settles `rows` as done, all of them.
pub(crate) async fn settle(owner: &Owner, rows: &[Pending]) {
    let settled = owner.settle(rows, &DONE).await;
    assert!(settled.iter().all(|one| *one == Settled::Applied));
}

/// Begins to settle `rows` as done.
pub(crate) fn settling(owner: &Owner, rows: &[Pending]) -> JoinHandle<Result<Vec<Settled>>> {
    let store = Arc::clone(&owner.store);
    let settlements: Vec<_> = rows.iter().map(|row| owner.settlement(row, DONE)).collect();
    tokio::spawn(async move { store.settle(&settlements).await })
}

/// Releases followers, as the sweep of the machine does.
pub(crate) async fn release(owner: &Owner, store: &PostgresStore) {
    let mut request = owner.request(0);
    for part in &mut request.partitions {
        part.sweep = true;
    }
    store.fetch(&request).await.unwrap();
}

/// Settles as done what there is, with what waits for it, and returns the ids in the order in which they
/// came.
pub(crate) async fn settle_all(owner: &Owner, store: &PostgresStore) -> Vec<String> {
    let mut came = Vec::new();
    for _ in 0..200 {
        release(owner, store).await;
        let fetched = owner.fetch(500).await;
        came.extend(ids(&fetched));
        owner.settle(&fetched.pending, &DONE).await;
        let stats = store.stats(&Queue::Outbox).await.unwrap();
        if stats.pending + stats.waiting == 0 {
            break;
        }
    }
    came
}

/// A verdict that halts the key.
pub(crate) fn dead() -> Change {
    Change::Verdict(Verdict::Dead {
        reason: String::from("no"),
        halts: true,
        uncertain: false,
    })
}
