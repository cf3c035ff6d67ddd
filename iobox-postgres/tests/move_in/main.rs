//! Moving in from go-iobox: every row arrives once, whatever crashes and whoever writes meanwhile.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

#[path = "../support/mod.rs"]
mod support;

mod arrive;
mod cut;
mod stay;

use iobox_core::{
    queue::Queue,
    store::{Admin, Body, Entry, Filter, Page},
};
use iobox_postgres::{MoveIn, MovedTable, PostgresStore};

use crate::support::id;

/// Moves both tables.
pub(crate) async fn moved(store: &PostgresStore, options: &MoveIn) -> [MovedTable; 2] {
    let report = store.move_in(options).await.expect("a move");
    [report.outbox, report.inbox].map(|table| table.expect("the table is there"))
}

/// What a person sees of a queue.
pub(crate) async fn entries(store: &PostgresStore, of: &Queue) -> Vec<Entry> {
    let page = Page {
        limit: 1_000,
        ..Page::default()
    };
    let all = store.list(of, &Filter::default(), page).await;
    all.expect("a list")
}

/// Seconds since 1970.
pub(crate) fn seconds(entry: Option<std::time::SystemTime>) -> u64 {
    let since = entry.expect("a time").duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// The content of an entry.
pub(crate) async fn payload(store: &PostgresStore, of: &Queue, one: &str) -> Vec<u8> {
    let entry = store.get(of, &id(one)).await.expect("get");
    match entry.and_then(|entry| entry.body) {
        Some(Body::Message(message)) => message.payload().to_vec(),
        other => panic!("{one}: {other:?}"),
    }
}
