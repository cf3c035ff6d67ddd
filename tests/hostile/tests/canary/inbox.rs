//! The inbox: handlers that fail, panic, and cannot read a payload.

use std::time::Duration;

use iobox::{
    Inbox, Router,
    dispatch::RetryPolicy,
    handler::{self, HandlerError},
    inbox::{Delivery, HandlerName, HandlerPolicy, InboxBuilder, SourceName},
    memory::{MemoryBroker, MemoryStore},
    message::Message,
    partition::Partitions,
    publisher::{Outcomes, Publisher as _},
    queue::Queue,
    sqlite::{self, OnTxSync as _, SqliteStore, rusqlite::Transaction},
    store::{Filter, Page, Receive},
};

use super::{
    capture::Capture,
    plant::{SECRET, draft, secret},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn quick() -> HandlerPolicy {
    let retry = RetryPolicy::new(Duration::from_millis(2), Duration::from_millis(10), 2);
    HandlerPolicy::new().retry(retry.expect("a policy"))
}

/// A router whose handlers fail, each in its way.
fn failing<S: Receive>() -> Router<S> {
    let mut router = Router::new();
    let read = |_: u32, _: Message| async { Ok::<_, HandlerError>(()) };
    router.on(">", "json", handler::json(read)).policy(quick());
    let fail = |_: Message| async { Err::<(), _>(HandlerError::from("no\nFORGED line\u{1b}[2J")) };
    router
        .on(">", "fail", handler::from_fn(fail))
        .policy(quick());
    let panics = |_: Message| async { panic!("no\nFORGED line\u{1b}[2J") };
    router
        .on(">", "panic", handler::from_fn(panics))
        .policy(quick());
    router
}

/// Receives, handles until every handler has given up on two messages, and takes all that a person would
/// be shown. One of the two comes by a source, or by a second reception.
async fn handled<S: Receive + std::fmt::Debug>(
    capture: &Capture,
    store: &S,
    builder: InboxBuilder<S>,
    names: &[&str],
) {
    let builder = builder.poll(Duration::from_millis(2), Duration::from_millis(20));
    capture.debug("builder", &builder);
    let inbox = builder.build().expect("an inbox");
    capture.debug("inbox", &inbox);
    let handle = inbox.spawn();
    capture.debug("handle", &handle);
    let delivery = Delivery::foreign(&draft("received")).expect("a delivery");
    capture.debug("delivery", &delivery);
    let webhook = SourceName::new("webhook").expect("a name");
    let received = inbox.receive(&webhook, &[delivery]).await;
    received.expect("received");
    for name in names {
        let name = HandlerName::new(name).expect("a name");
        let queue = Queue::Inbox(name.clone());
        let died = async {
            loop {
                if let Ok(of) = store.queue_of(&name).await
                    && of.stats(&queue).await.is_ok_and(|stats| stats.dead == 2)
                {
                    return of;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let died = tokio::time::timeout(PATIENCE, died).await;
        let of = died.unwrap_or_else(|_| panic!("two messages of {name} die"));
        let listed = of.list(&queue, &Filter::default(), Page::default()).await;
        capture.debug("dead letters", &listed);
        capture.debug("stats", &of.stats(&queue).await);
    }
    let drained = handle.drain().await;
    capture.debug("drained", &drained);
}

pub(crate) async fn memory(capture: &Capture) {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let mut router = failing();
    capture.debug("router", &router);
    let nothing = handler::from_fn(|_| async { Ok(()) });
    capture.debug("route", &router.on("x", "x", nothing));
    let broker = MemoryBroker::new();
    let published = [secret("published", "orders.created")];
    broker
        .publish(&published, &mut Outcomes::new(1, |_, _| {}))
        .await;
    let source = broker.source(SourceName::new("stream").expect("a name"));
    let builder = Inbox::builder(store.clone(), router).source(source);
    handled(capture, &store, builder, &["json", "fail", "panic"]).await;
}

pub(crate) async fn sqlite(capture: &Capture) {
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        SqliteStore::open(sqlite::Config::new(folder.path().join("a.db"))).expect("a store");
    store.migrate().await.expect("migrate");
    let mut router = failing();
    let insert = |tx: &Transaction<'_>, _: &Message| -> Result<(), HandlerError> {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS t (a TEXT UNIQUE)")?;
        tx.execute("INSERT INTO t VALUES (?1), (?1)", [SECRET])?;
        Ok(())
    };
    router.on_tx_sync(">", "insert", insert).policy(quick());
    let panics = |_: &Transaction<'_>, _: &Message| -> Result<(), HandlerError> {
        panic!("no\nFORGED line\u{1b}[2J")
    };
    router.on_tx_sync(">", "panic-tx", panics).policy(quick());
    let names = ["json", "fail", "panic", "insert", "panic-tx"];
    let builder = Inbox::builder(store.clone(), router);
    let webhook = SourceName::new("webhook").expect("a name");
    let second = [Delivery::new(secret("second", "orders.created"))];
    let inbox = Inbox::builder(store.clone(), failing()).build();
    let inbox = inbox.expect("an inbox");
    inbox.receive(&webhook, &second).await.expect("received");
    handled(capture, &store, builder, &names).await;
}
