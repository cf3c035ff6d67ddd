//! A Postgres that comes back without what it had committed, as a promoted standby does that had not got
//! everything: numbers are given again, and nobody takes a new message for a lost one.

#![allow(
    clippy::disallowed_methods,
    reason = "servers and ids live on the machine"
)]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox::{
    Inbox, Relay, Router,
    handler::from_fn,
    inbox::Received,
    memory::MemoryBroker,
    message::Message,
    postgres::PostgresStore,
    publisher::{Durability, Outcomes, Publisher, Receipt},
    store::{Settled, Subscribe as _},
};
use iobox_testkit::{
    broker::support::publish_all,
    source::support::range,
    suite::inbox::support::{source, subscription},
};
use support::{
    LONG, POLL, answered,
    standby::{Standby, config},
    until,
};

/// Longer than a server takes to come back.
const TTL: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_from_before_settles_nothing() {
    let mut standby = Standby::new().await;
    let mut claim = standby.claim().await;
    standby.replicate();
    standby.enqueue("lost").await;
    let lost = claim.fetch().await;
    standby.promote().await;

    standby.enqueue("new").await;
    let new = claim.fetch().await;
    assert_eq!(
        (new.partition, new.seq, new.revision),
        (lost.partition, lost.seq, lost.revision)
    );
    assert_eq!(claim.settle(&lost).await, Settled::LeaseLost);

    // It gets the partition back at once, and has the message.
    claim.acquire().await;
    assert_eq!(claim.fetch().await.seq, new.seq);
    assert_eq!(claim.settle(&new).await, Settled::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_lost_is_not_given_to_another() {
    let mut standby = Standby::new().await;
    standby.replicate();
    let before = standby.claim().await;
    standby.enqueue("lost").await;
    let lost = before.fetch().await;
    standby.promote().await;

    standby.enqueue("new").await;
    let after = standby.claim().await;
    let new = after.fetch().await;
    assert_eq!(
        (new.partition, new.seq, new.revision),
        (lost.partition, lost.seq, lost.revision)
    );
    assert!(after.grants[0].epoch > before.grants[0].epoch);
    assert_eq!(before.settle(&lost).await, Settled::LeaseLost);
    assert_eq!(after.settle(&new).await, Settled::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_were_lost_route_nothing() {
    let mut standby = Standby::new().await;
    standby.replicate();
    let lost = [subscription("orders", "lost")];
    answered(async || standby.store.subscribe(&lost).await).await;
    // Known by its version, which is given again.
    assert_eq!(
        standby.receive("orders", "1").await,
        Received::New { handlers: 1 }
    );
    standby.promote().await;

    let another = PostgresStore::connect_url(standby.server.url(), config()).await;
    let another = another.expect("a store");
    let given = subscription("bills", "new");
    another.subscribe(&[given]).await.expect("a subscription");
    assert_eq!(
        standby.receive("orders", "2").await,
        Received::New { handlers: 0 }
    );
    assert_eq!(
        standby.receive("bills", "3").await,
        Received::New { handlers: 1 }
    );
}

/// It is never refused by a settlement, since no row of its queue is ever settled.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_read_in_order_comes_back() {
    let mut standby = Standby::new().await;
    let broker = MemoryBroker::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let mut router = Router::new();
    router.on(
        ">",
        "count",
        from_fn(move |_: Message| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        }),
    );
    let inbox = Inbox::builder(standby.store.clone(), router)
        .source(broker.source(source()))
        .time_to_live(TTL)
        .build()
        .expect("an inbox")
        .spawn();
    publish_all(&broker, &range(0, 5)).await;
    until(LONG, "the first messages", async || {
        handled.load(Ordering::Relaxed) == 5
    })
    .await;
    standby.replicate();
    standby.promote().await;
    publish_all(&broker, &range(5, 9)).await;
    until(LONG, "the later messages", async || {
        handled.load(Ordering::Relaxed) >= 9
    })
    .await;
    inbox.drain().await.expect("a drain");
}

/// A broker that is slow to confirm.
#[derive(Debug, Default)]
struct Slow {
    got: Mutex<Vec<String>>,
    confirms: AtomicBool,
}

impl Slow {
    fn got(&self) -> Vec<String> {
        self.got.lock().expect("no panic").clone()
    }
}

/// Shared with the test.
#[derive(Debug, Clone, Default)]
struct Publishing(Arc<Slow>);

#[async_trait]
impl Publisher for Publishing {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        let ids = batch.iter().map(|message| message.id().to_string());
        self.0.got.lock().expect("no panic").extend(ids);
        while !self.0.confirms.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL).await;
        }
        for index in 0..batch.len() {
            outcomes.report(index, Ok(Receipt::new()));
        }
    }

    async fn probe(&self) -> iobox::Result<Durability> {
        Ok(Durability::Synced)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_went_on_publishes_the_new_message() {
    let mut standby = Standby::new().await;
    let broker = Publishing::default();
    let relay = Relay::builder(standby.store.clone(), broker.clone())
        .time_to_live(TTL)
        .build()
        .expect("a relay")
        .spawn();
    // What it holds, it holds on the standby too.
    broker.0.confirms.store(true, Ordering::Relaxed);
    standby.enqueue("first").await;
    until(LONG, "the first message to be done", async || {
        broker.0.got() == ["first"] && standby.unsettled().await == 0
    })
    .await;
    standby.replicate();
    broker.0.confirms.store(false, Ordering::Relaxed);
    standby.enqueue("lost").await;
    until(LONG, "the lost message at the broker", async || {
        broker.0.got() == ["first", "lost"]
    })
    .await;
    standby.promote().await;
    standby.enqueue("new").await;

    broker.0.confirms.store(true, Ordering::Relaxed);
    until(LONG, "all to be done", async || {
        standby.unsettled().await == 0
    })
    .await;
    assert_eq!(broker.0.got(), ["first", "lost", "new"]);
    relay.drain().await.expect("a drain");
}
