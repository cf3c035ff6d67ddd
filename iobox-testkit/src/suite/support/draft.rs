//! Drafts, and enqueueing them.

use std::fmt;

use iobox_core::{
    Result,
    message::{Draft, MessageId, OrderingKey},
    partition::{Partition, Partitions},
    store::Enqueued,
};

use crate::suite::{Harness, OpenTransaction};

/// The topic of every draft that a case does not say more about.
pub const TOPIC: &str = "orders.created";

/// How often a transaction that the store refuses for the moment is run again.
const TRIES_MAX: usize = 10_000;

/// `count` partitions.
///
/// # Panics
/// When `count` is not a power of two up to 256.
#[must_use]
pub fn partitions(count: u16) -> Partitions {
    Partitions::new(count).expect("the suite asks for a power of two")
}

/// The ordering key with this text.
///
/// # Panics
/// When the text is no key.
#[must_use]
pub fn key(text: &str) -> OrderingKey {
    OrderingKey::new(text).expect("the suite writes valid keys")
}

/// A draft without a key, with its label as payload.
pub fn plain(label: impl fmt::Display) -> Draft {
    Draft::new(TOPIC, label.to_string())
}

/// A draft with a key, with its label as payload.
pub fn keyed(key: &str, label: impl fmt::Display) -> Draft {
    plain(label).key(key)
}

/// Drafts of one key, labelled `0..count`.
#[must_use]
pub fn run_of(key: &str, count: usize) -> Vec<Draft> {
    (0..count).map(|label| keyed(key, label)).collect()
}

/// A key that falls into `wanted`: `stem` with a number behind it.
///
/// # Panics
/// When no such key is found.
#[must_use]
pub fn key_in(partitions: Partitions, wanted: u8, stem: &str) -> String {
    (0..100_000)
        .map(|n| format!("{stem}-{n}"))
        .find(|text| partitions.of(text) == Partition::new(wanted))
        .expect("a hash that reaches every partition")
}

/// Enqueues in a transaction of its own and commits it; all drafts must be new.
///
/// # Panics
/// When the store refuses them or calls one a duplicate.
pub async fn enqueue<H: Harness>(harness: &H, drafts: &[Draft]) -> Vec<MessageId> {
    let new = |one| match one {
        Enqueued::New(id) => id,
        Enqueued::Duplicate(id) => panic!("{id} is new, and is reported as a duplicate"),
    };
    let results = enqueue_results(harness, drafts).await;
    results.into_iter().map(new).collect()
}

/// Enqueues in a transaction of its own, commits it, and returns what became of each draft. Runs
/// the transaction again as long as the store refuses it for the moment.
///
/// # Panics
/// When the store refuses the drafts, or never lets the transaction through.
pub async fn enqueue_results<H: Harness>(harness: &H, drafts: &[Draft]) -> Vec<Enqueued> {
    for _ in 0..TRIES_MAX {
        match try_enqueue(harness, drafts).await {
            Ok(results) => {
                assert_eq!(results.len(), drafts.len(), "one result for each draft");
                return results;
            }
            Err(error) if error.is_retryable() => tokio::task::yield_now().await,
            Err(error) => panic!("an enqueue of good drafts failed: {error}"),
        }
    }
    panic!("{TRIES_MAX} runs of one transaction were refused")
}

/// Enqueues in a transaction of its own and commits it, once.
///
/// # Errors
/// What the store says.
pub async fn try_enqueue<H: Harness>(harness: &H, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
    let mut open = harness.begin().await?;
    let results = open.enqueue(drafts).await?;
    open.commit().await?;
    Ok(results)
}
