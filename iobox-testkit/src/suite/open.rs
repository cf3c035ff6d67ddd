//! Opening: what a store says of itself, and which tables it refuses.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    Error, ErrorKind,
    inbox::HandlerName,
    message::MessageId,
    queue::Queue,
    store::{
        AcquireRequest, Admin, Body, FetchRequest, InstanceId, ReleaseRequest, RenewRequest,
        Selection, Store,
    },
};
use uuid::Uuid;

use super::{
    Harness, Misfit,
    support::{Instance, TTL, enqueue, partitions, plain},
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

/// A handle answers for its own queue alone: asked for another one it refuses, and changes nothing.
pub async fn another_queue_is_refused<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    enqueue(&harness, &[plain("a").id("a")]).await;
    let store = harness.store().as_ref();
    let handler = HandlerName::new("nobody").expect("a name");
    let queue = Queue::Inbox(handler);
    let instance = InstanceId::new(Uuid::now_v7());
    let id = MessageId::new("a").expect("an id");
    let selection = Selection::One(id.clone());
    let renew = RenewRequest {
        queue: queue.clone(),
        instance,
        ttl: TTL,
        register: true,
        in_flight: 0,
    };
    let acquire = AcquireRequest {
        queue: queue.clone(),
        instance,
        held: Vec::new(),
    };
    let release = ReleaseRequest {
        queue: queue.clone(),
        instance,
        partitions: Vec::new(),
        leave: true,
    };
    let fetch = FetchRequest {
        queue: queue.clone(),
        partitions: Vec::new(),
        limit: 1,
        bytes: 1,
    };
    let asked = [
        ("open", store.open(&queue).await.err()),
        ("renew", store.renew(&renew).await.err()),
        ("acquire", store.acquire(&acquire).await.err()),
        ("release", store.release(&release).await.err()),
        ("fetch", store.fetch(&fetch).await.err()),
        ("stats", store.stats(&queue).await.err()),
        ("get", store.get(&queue, &id).await.err()),
        (
            "replay",
            store.replay(&queue, &selection, false).await.err(),
        ),
        (
            "discard",
            store.discard(&queue, &selection, false).await.err(),
        ),
        ("purge", store.purge(&queue, Duration::ZERO, 10).await.err()),
    ];
    for (call, error) in asked {
        let error = error.unwrap_or_else(|| panic!("{call} answers for another queue"));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{call}: {error}");
    }
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!((stats.pending, stats.instances.len()), (1, 0));
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
