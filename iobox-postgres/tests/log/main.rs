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

use iobox_core::{
    message::Draft,
    queue::Queue,
    store::{Admin, Body, Fetched, Pending, Store},
};
use iobox_postgres::PostgresStore;

use crate::support::{Owner, Schema, connection, number};

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

/// Releases followers, as the sweep of the machine does.
pub(crate) async fn release(owner: &Owner, store: &PostgresStore) {
    let mut request = owner.request(0);
    for part in &mut request.partitions {
        part.sweep = true;
    }
    store.fetch(&request).await.unwrap();
}
