//! Rows as fetches and listings show them.

use std::time::Duration;

use iobox_core::{
    message::MessageId,
    queue::Queue,
    store::{
        Admin, Body, Discarded, Entry, Fetched, Filter, Page, Pending, Replayed, Selection, State,
    },
};

/// The payload of a fetched row as text; the row must be readable.
///
/// # Panics
/// When it is corrupt, or no text.
#[must_use]
pub fn label(row: &Pending) -> String {
    match &row.body {
        Body::Message(message) => {
            String::from_utf8(message.payload().to_vec()).expect("a payload that the suite wrote")
        }
        Body::Corrupt(reason) => panic!("{:?} is corrupt: {reason}", row.seq),
    }
}

/// The labels of what may run, in the order in which it came.
#[must_use]
pub fn labels(fetched: &Fetched) -> Vec<String> {
    fetched.pending.iter().map(label).collect()
}

/// The seqs of what may run, in the order in which it came.
#[must_use]
pub fn seqs(fetched: &Fetched) -> Vec<i64> {
    fetched.pending.iter().map(|row| row.seq.0).collect()
}

/// How many rows were set aside.
#[must_use]
pub fn aside_count(fetched: &Fetched) -> usize {
    fetched.aside.iter().map(|aside| aside.count).sum()
}

/// Every message of the store by seq, read page by page.
///
/// # Panics
/// When listing fails.
pub async fn entries<S: Admin + ?Sized>(store: &S) -> Vec<Entry> {
    matching(store, &Filter::default()).await
}

/// The messages that match, by seq, read page by page.
///
/// # Panics
/// When listing fails.
pub async fn matching<S: Admin + ?Sized>(store: &S, filter: &Filter) -> Vec<Entry> {
    let mut entries = Vec::<Entry>::new();
    loop {
        let page = Page {
            after: entries.last().map(|entry| entry.seq),
            limit: 1_000,
        };
        let next = store.list(&Queue::Outbox, filter, page).await;
        let next = next.expect("list");
        let behind = next.first().map(|entry| entry.seq);
        assert!(
            behind.is_none() || behind > page.after,
            "a page begins behind the last one"
        );
        if next.is_empty() {
            return entries;
        }
        entries.extend(next);
    }
}

/// The states of all messages by seq.
pub async fn states<S: Admin + ?Sized>(store: &S) -> Vec<State> {
    let entries = entries(store).await;
    entries.into_iter().map(|entry| entry.state).collect()
}

/// The message with this id, which must exist.
///
/// # Panics
/// When it does not.
pub async fn entry<S: Admin + ?Sized>(store: &S, id: &MessageId) -> Entry {
    let found = store.get(&Queue::Outbox, id).await.expect("get");
    found.unwrap_or_else(|| panic!("there is no message {id}"))
}

/// The state of the message with this id.
pub async fn state<S: Admin + ?Sized>(store: &S, id: &MessageId) -> State {
    entry(store, id).await.state
}

/// Replays one message.
///
/// # Panics
/// When the store fails.
pub async fn replay_one<S: Admin + ?Sized>(store: &S, id: &MessageId) -> Replayed {
    let one = Selection::One(id.clone());
    let replayed = store.replay(&Queue::Outbox, &one, false).await;
    replayed.expect("replay")
}

/// Discards one message.
///
/// # Panics
/// When the store fails.
pub async fn discard_one<S: Admin + ?Sized>(store: &S, id: &MessageId) -> Discarded {
    let one = Selection::One(id.clone());
    let discarded = store.discard(&Queue::Outbox, &one, false).await;
    discarded.expect("discard")
}

/// Purges, and returns how many messages are gone.
///
/// # Panics
/// When the store fails.
pub async fn purge<S: Admin + ?Sized>(store: &S, retention: Duration, limit: u32) -> u64 {
    let purged = store.purge(&Queue::Outbox, retention, limit).await;
    purged.expect("purge")
}
