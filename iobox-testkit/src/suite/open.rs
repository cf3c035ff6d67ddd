//! Opening: what a store says of itself, and which tables it refuses.

use std::sync::Arc;

use iobox_core::{
    Error, ErrorKind,
    queue::Queue,
    store::{Body, Store},
};

use super::{
    Harness, Misfit,
    support::{Instance, enqueue, partitions, plain},
};

/// A store that is opened tells the number of its partitions.
pub async fn an_open_store_tells_its_partitions<H: Harness>() {
    for count in [1, 8, 256] {
        let harness = H::fresh(partitions(count)).await;
        let info = harness.store().open(&Queue::Outbox).await.expect("open");
        assert_eq!(info.partitions, partitions(count));
    }
}

/// Every handle on a store tells the same origin, and messages carry it.
pub async fn the_origin_is_the_same_for_every_handle<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let info = harness.store().open(&Queue::Outbox).await.expect("open");
    let other = harness.another().await.open(&Queue::Outbox).await;
    assert_eq!(other.expect("open"), info);
    enqueue(&harness, &[plain("a")]).await;
    let row = Instance::owner(harness.store()).await.one().await;
    let Body::Message(message) = row.body else {
        panic!("{:?} is corrupt", row.seq);
    };
    assert_eq!(message.origin(), info.origin);
}

/// Two stores have different origins, so that their ids do not meet at a broker.
pub async fn two_stores_have_two_origins<H: Harness>() {
    let one = H::fresh(partitions(1)).await;
    let two = H::fresh(partitions(1)).await;
    let one = one.store().open(&Queue::Outbox).await.expect("open");
    let two = two.store().open(&Queue::Outbox).await.expect("open");
    assert_ne!(one.origin, two.origin);
}

/// Tables that nobody migrated are refused, and the message says what to do.
pub async fn tables_that_nobody_migrated_are_refused<H: Harness>() {
    if let Some(error) = refused::<H>(Misfit::NotMigrated).await {
        assert!(error.to_string().contains("run migrate"), "{error}");
    }
}

/// Tables that a newer program migrated are refused.
pub async fn tables_newer_than_the_program_are_refused<H: Harness>() {
    refused::<H>(Misfit::Newer).await;
}

/// Tables with another number of partitions are refused, and the message names both numbers.
pub async fn another_partition_count_is_refused<H: Harness>() {
    let (made, configured) = (partitions(8), partitions(32));
    if let Some(error) = refused::<H>(Misfit::Partitions { made, configured }).await {
        let text = error.to_string();
        assert!(text.contains('8') && text.contains("32"), "{text}");
    }
}

/// The error of a store that must not open, or `None` where there is no such store.
async fn refused<H: Harness>(misfit: Misfit) -> Option<Error> {
    let store: Option<Arc<H::Store>> = H::misfit(misfit).await;
    assert_eq!(store.is_some(), H::REFUSES_MISFITS, "{misfit:?}");
    let store = store?;
    let error = store.open(&Queue::Outbox).await;
    let error = error.expect_err("tables that do not fit are refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    Some(error)
}
