//! Reading sources: what the ingester stores, acks, and leaves to the next.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    ErrorKind, Inbox, Result, Router,
    handler::{self, HandlerError},
    inbox::{InboxBuilder, SourceName},
    memory::{MemoryBroker, MemorySource, MemoryStore},
    message::{Draft, Message},
    partition::Partitions,
    relay::Relay,
    source::{Order, Reader, Source, Start},
    store::{Enqueue, Ingest},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn name() -> SourceName {
    SourceName::new("log").expect("a name")
}

fn store() -> MemoryStore {
    MemoryStore::new(Partitions::DEFAULT)
}

/// Publishes messages `from..to` of ten keys.
async fn publish(broker: &MemoryBroker, outbox: &MemoryStore, from: usize, to: usize) {
    let mut tx = outbox.begin();
    for n in from..to {
        let draft = Draft::new("orders.created", n.to_string())
            .id(n)
            .key(n % 10);
        outbox.enqueue(&mut tx, &[draft]).await.expect("enqueue");
    }
    tx.commit().expect("a commit");
    let relay = Relay::builder(outbox.clone(), broker.clone());
    let relay = relay.build().expect("a relay").spawn();
    relay.wait_until_empty(PATIENCE).await.expect("published");
    relay.drain().await.expect("a drain");
}

fn router() -> Router<MemoryStore> {
    let mut router = Router::new();
    let fine = |_: Message| async { Ok::<_, HandlerError>(()) };
    router.on("orders.*", "count", handler::from_fn(fine));
    router
}

fn inbox(store: &MemoryStore, broker: &MemoryBroker) -> InboxBuilder<MemoryStore> {
    Inbox::builder(store.clone(), router()).source(broker.source(name()))
}

#[tokio::test]
async fn a_source_is_read_from_where_the_last_reader_was() {
    let (broker, outbox, store) = (MemoryBroker::new(), store(), store());
    for (from, to) in [(0, 100), (100, 250)] {
        publish(&broker, &outbox, from, to).await;
        let inbox = inbox(&store, &broker).build().expect("an inbox");
        let running = inbox.spawn();
        let stored = async {
            loop {
                let position = store.position(&name()).await.expect("a position");
                if position.is_some_and(|at| at.as_str() == to.to_string()) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, stored)
            .await
            .expect("everything is read");
        running.wait_until_empty(PATIENCE).await.expect("handled");
        running.drain().await.expect("a drain");
    }
}

/// A source that panics the first time that it is opened.
#[derive(Debug)]
struct Panics {
    source: MemorySource,
    opened: AtomicBool,
}

#[async_trait]
impl Source for Panics {
    fn name(&self) -> &SourceName {
        self.source.name()
    }

    fn order(&self) -> Order {
        self.source.order()
    }

    async fn probe(&self) -> Result<()> {
        self.source.probe().await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        assert!(self.opened.swap(true, Ordering::Relaxed), "on purpose");
        self.source.open(start).await
    }
}

/// The right that it had ends with its lease.
#[tokio::test]
async fn a_source_that_panics_is_read_again() {
    let (broker, outbox, store) = (MemoryBroker::new(), store(), store());
    publish(&broker, &outbox, 0, 20).await;
    let source = Panics {
        source: broker.source(name()),
        opened: AtomicBool::new(false),
    };
    let inbox = Inbox::builder(store.clone(), router())
        .source(source)
        .time_to_live(Duration::from_secs(1));
    let running = inbox.build().expect("an inbox").spawn();
    let read = async {
        while store.position(&name()).await.expect("a position").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("read");
    running.wait_until_empty(PATIENCE).await.expect("handled");
    running.drain().await.expect("a drain");
}

#[test]
fn sources_are_checked() {
    let (broker, store) = (MemoryBroker::new(), store());
    let twice = inbox(&store, &broker).source(broker.source(name()));
    let error = twice.build().expect_err("two of one name");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("name log"), "{error}");
    let error = inbox(&store, &broker).max_backlog(1).build();
    assert_eq!(error.expect_err("too few").kind(), ErrorKind::Invalid);
}
