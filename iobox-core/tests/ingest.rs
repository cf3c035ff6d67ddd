//! Reading sources: what the ingester stores, acks, and leaves to the next.

use std::time::Duration;

use iobox_core::{
    ErrorKind, Inbox, Router,
    handler::{self, HandlerError},
    inbox::{InboxBuilder, SourceName},
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Message},
    partition::Partitions,
    relay::Relay,
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
