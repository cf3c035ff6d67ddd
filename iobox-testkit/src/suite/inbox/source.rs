//! Sources: inboxes that read one while they run, and what becomes of it when they fail.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Inbox, Result, Router,
    handler::{self, HandlerError, TxHandler},
    inbox::{HandlerPolicy, InboxBuilder, InboxHandle, SourceName},
    memory::{MemoryBroker, MemorySource},
    message::{Limits, Message},
    publisher::{Outcomes, Publisher},
    queue::Queue,
    source::{Batch, Order, Reader, Room, Source, Start},
    store::{Admin, Enqueue, Ingest, Transact},
};
use tokio::{sync::watch, time::Instant};

use super::support::{Notes, delivery, finish, source, stats, subscribe};
use crate::suite::{
    Harness,
    support::{PATIENCE, partitions, plain},
};

/// Publishes messages `from..to` of topic `t` and ten keys.
async fn publish(broker: &MemoryBroker, from: usize, to: usize) {
    let message = |n: usize| {
        let delivery = delivery("t", &format!("{n:05}"), &format!("k{}", n % 10));
        delivery.message().clone()
    };
    send(broker, &(from..to).map(message).collect::<Vec<_>>()).await;
}

async fn send(broker: &MemoryBroker, all: &[Message]) {
    let mut outcomes = Outcomes::new(all.len(), |_, outcome| {
        outcome.expect("the broker has room");
    });
    broker.publish(all, &mut outcomes).await;
}

/// What a case does to a source.
#[async_trait]
trait Meddler: fmt::Debug + Send + Sync + 'static {
    const ORDER: Order = Order::Stream;

    /// Before a batch is asked for.
    async fn before_next(&self, _: &mut Room) -> Result<()> {
        Ok(())
    }

    /// When a batch was read.
    fn after_next(&self, _: &Batch) {}

    /// Before the broker is told that a batch is stored.
    async fn before_ack(&self) -> Result<()> {
        Ok(())
    }
}

/// A source with a meddler between it and its reader.
#[derive(Debug)]
struct Meddled<M>(MemorySource, Arc<M>);

#[derive(Debug)]
struct MeddledReader<M>(Box<dyn Reader>, Arc<M>);

#[async_trait]
impl<M: Meddler> Source for Meddled<M> {
    fn name(&self) -> &SourceName {
        self.0.name()
    }

    fn order(&self) -> Order {
        M::ORDER
    }

    async fn probe(&self) -> Result<()> {
        self.0.probe().await
    }

    async fn open(&self, start: &Start) -> Result<Box<dyn Reader>> {
        let reader = self.0.open(start).await?;
        Ok(Box::new(MeddledReader(reader, Arc::clone(&self.1))))
    }
}

#[async_trait]
impl<M: Meddler> Reader for MeddledReader<M> {
    async fn next(&mut self, mut room: Room) -> Result<Batch> {
        self.1.before_next(&mut room).await?;
        let mut batch = self.0.next(room).await?;
        self.1.after_next(&batch);
        if M::ORDER == Order::None {
            batch.position = None;
        }
        Ok(batch)
    }

    async fn ack(&mut self) -> Result<()> {
        self.1.before_ack().await?;
        self.0.ack().await
    }

    async fn close(self: Box<Self>) {
        self.0.close().await;
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the source was read up to here.
async fn read_up_to<S: Ingest>(store: &S, end: usize) {
    let end = end.to_string();
    until("the source is read", async || {
        let stands = store.position(&source()).await.expect("a position");
        stands.is_some_and(|at| at.as_str() == end)
    })
    .await;
}

/// An inbox that reads `from`, with short pauses.
fn inbox<S: Ingest>(store: &S, router: Router<S>, from: impl Source) -> InboxBuilder<S> {
    Inbox::builder(store.clone(), router)
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .source(from)
}

fn spawn<S: Ingest>(builder: InboxBuilder<S>) -> InboxHandle<S> {
    builder.build().expect("an inbox").spawn()
}

/// A router whose handler of topic `t` notes what it handled.
fn noting<S: Ingest>(notes: &Notes) -> Router<S> {
    let mut router = Router::new();
    router.on("t", "a", notes.clone());
    router
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:05}")).collect()
}

/// An inbox reads a source from its beginning to its end and goes on with what comes then, handles the
/// messages of a key in their order, passes over what can never be stored, and tells the broker.
pub async fn an_inbox_reads_a_source_to_its_end<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let (broker, notes) = (MemoryBroker::new(), Notes::new());
    publish(&broker, 0, 300).await;
    let log = broker.source(source());
    let running = spawn(inbox(store, noting(&notes), log.clone()));
    read_up_to(store, 300).await;
    let small = delivery("t", "large", "");
    let small = small.message();
    let large = Message::new(
        small.origin(),
        small.id().clone(),
        small.topic().clone(),
        None,
        small.headers().clone(),
        vec![0; Limits::PAYLOAD_DEFAULT + 1].into(),
    );
    send(&broker, &[large]).await;
    publish(&broker, 300, 400).await;
    read_up_to(store, 401).await;
    until("the broker is told", async || log.acked() == 401).await;
    finish(running).await;
    assert_eq!(notes.sorted(), ids(400));
    for key in 0..10 {
        let of_key = |id: &&String| id.parse::<usize>().expect("a number") % 10 == key;
        let handled = notes.handled();
        assert!(handled.iter().filter(of_key).is_sorted(), "key {key}");
    }
}

/// Fails now and then, and brings little at once.
#[derive(Debug, Default)]
struct Failing(AtomicUsize);

#[async_trait]
impl Meddler for Failing {
    async fn before_next(&self, room: &mut Room) -> Result<()> {
        room.messages = room.messages.min(7);
        self.fail_at(3)
    }

    async fn before_ack(&self) -> Result<()> {
        self.fail_at(4)
    }
}

impl Failing {
    fn fail_at(&self, turn: usize) -> Result<()> {
        if self.0.fetch_add(1, Ordering::SeqCst) % 11 == turn {
            return Err(Error::unavailable("as the case says"));
        }
        Ok(())
    }
}

/// A source that fails, before a batch or when it is told that one is stored, is opened again, and no
/// message is lost or stored twice.
pub async fn a_source_that_fails_is_opened_again<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let (broker, notes) = (MemoryBroker::new(), Notes::new());
    publish(&broker, 0, 150).await;
    let failing = Meddled(broker.source(source()), Arc::new(Failing::default()));
    let running = spawn(inbox(store, noting(&notes), failing));
    read_up_to(store, 150).await;
    finish(running).await;
    assert_eq!(notes.handled().len(), 150);
    assert_eq!(notes.sorted(), ids(150));
}

/// Never comes back from telling the broker.
#[derive(Debug, Default)]
struct Hangs(watch::Sender<bool>);

#[async_trait]
impl Meddler for Hangs {
    async fn before_ack(&self) -> Result<()> {
        self.0.send_replace(true);
        std::future::pending().await
    }
}

/// Enqueues one message for each that it handles.
struct Effect<S>(S);

#[async_trait]
impl<S: Enqueue> TxHandler<S::Tx> for Effect<S> {
    async fn handle(&self, tx: &mut S::Tx, message: &Message) -> Result<(), HandlerError> {
        self.0.enqueue(tx, &[plain(message.id())]).await?;
        Ok(())
    }
}

/// An inbox with such a handler and a short lease.
fn effective<S: Ingest + Transact>(store: &S, from: impl Source) -> InboxHandle<S> {
    let mut router = Router::new();
    router.on_tx("t", "a", Effect(store.clone()));
    spawn(inbox(store, router, from).time_to_live(Duration::from_secs(1)))
}

/// When the process of a reader dies between storing a batch and telling the broker, another one
/// follows, and every message takes effect once.
pub async fn a_killed_reader_is_followed_by_another<H: Harness>()
where
    H::Store: Ingest + Transact,
{
    const MESSAGES: usize = 200;
    let harness = H::fresh(partitions(4)).await;
    let broker = MemoryBroker::new();
    publish(&broker, 0, MESSAGES / 2).await;
    let hangs = Arc::new(Hangs::default());
    let log = broker.source(source());
    let store = harness.store().as_ref();
    let first = effective(store, Meddled(log.clone(), Arc::clone(&hangs)));
    let mut stored = hangs.0.subscribe();
    stored.wait_for(|hung| *hung).await.expect("it is alive");
    read_up_to(store, MESSAGES / 2).await;
    assert_eq!(log.acked(), 0);
    first.kill();
    publish(&broker, MESSAGES / 2, MESSAGES).await;
    let other = harness.another().await;
    let second = effective(other.as_ref(), log.clone());
    read_up_to(other.as_ref(), MESSAGES).await;
    until("the broker is told", async || log.acked() == MESSAGES).await;
    finish(second).await;
    let effects = other.stats(&Queue::Outbox).await.expect("stats").pending;
    assert_eq!(effects, u64::try_from(MESSAGES).expect("small"));
}

/// The most rows that the handler of the case may have.
const BACKLOG: usize = 1_000;

/// Notes how far beyond the bound was ever asked.
#[derive(Debug, Default)]
struct Greed {
    read: AtomicUsize,
    handled: Arc<AtomicUsize>,
    beyond: AtomicUsize,
}

#[async_trait]
impl Meddler for Greed {
    async fn before_next(&self, room: &mut Room) -> Result<()> {
        let asked = self.read.load(Ordering::SeqCst) + room.messages;
        let allowed = self.handled.load(Ordering::SeqCst) + BACKLOG;
        let beyond = asked.saturating_sub(allowed);
        self.beyond.fetch_max(beyond, Ordering::SeqCst);
        Ok(())
    }

    fn after_next(&self, batch: &Batch) {
        self.read
            .fetch_add(batch.deliveries.len(), Ordering::SeqCst);
    }
}

/// When a handler is behind, nothing is read beyond the bound of its backlog; when it goes on, so does
/// the reading.
pub async fn an_inbox_that_is_behind_stops_reading<H: Harness>()
where
    H::Store: Ingest,
{
    const MESSAGES: usize = 2_500;
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let broker = MemoryBroker::new();
    // Without keys, so that none waits for another.
    let message = |n: usize| delivery("t", &n.to_string(), "").message().clone();
    send(&broker, &(0..MESSAGES).map(message).collect::<Vec<_>>()).await;
    let greed = Arc::new(Greed::default());
    let open = watch::Sender::new(false);
    let mut router = Router::new();
    let (handled, gate) = (Arc::clone(&greed.handled), open.subscribe());
    let handle = handler::from_fn(move |_| {
        let (handled, mut gate) = (Arc::clone(&handled), gate.clone());
        async move {
            let opened = gate.wait_for(|open| *open).await;
            opened.map_err(|_| "the case is over")?;
            handled.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let policy = HandlerPolicy::new().timeout(PATIENCE * 4).concurrency(64);
    router.on("t", "a", handle).policy(policy);
    let from = Meddled(broker.source(source()), Arc::clone(&greed));
    let most = u32::try_from(BACKLOG).expect("small");
    let running = spawn(inbox(store, router, from).max_backlog(most));
    read_up_to(store, BACKLOG).await;
    open.send_replace(true);
    read_up_to(store, MESSAGES).await;
    finish(running).await;
    assert_eq!(greed.handled.load(Ordering::SeqCst), MESSAGES);
    assert_eq!(greed.beyond.load(Ordering::SeqCst), 0);
}

/// An inbox that is stopped gives its right to read back: the next instance reads at once, however long
/// the lease is.
pub async fn a_stopped_inbox_gives_its_right_back<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(4)).await;
    let other = harness.another().await;
    let (broker, notes) = (MemoryBroker::new(), Notes::new());
    let log = broker.source(source());
    let start = |store: &H::Store| {
        let builder = inbox(store, noting(&notes), log.clone());
        // Far longer than anybody waits here.
        spawn(builder.time_to_live(PATIENCE * 20))
    };
    publish(&broker, 0, 50).await;
    let first = start(harness.store().as_ref());
    read_up_to(other.as_ref(), 50).await;
    first.drain().await.expect("a drain");
    publish(&broker, 50, 100).await;
    let second = start(other.as_ref());
    read_up_to(other.as_ref(), 100).await;
    finish(second).await;
    assert_eq!(notes.sorted(), ids(100));
}

/// Says that its source has no order.
#[derive(Debug)]
struct Mixed;

#[async_trait]
impl Meddler for Mixed {
    const ORDER: Order = Order::None;
}

/// A source without an order is read by every instance, and each message is stored once.
pub async fn a_source_without_an_order_is_read_by_everybody<H: Harness>()
where
    H::Store: Ingest,
{
    let harness = H::fresh(partitions(4)).await;
    let other = harness.another().await;
    subscribe(harness.store().as_ref(), &[("t", "a")]).await;
    let (broker, notes) = (MemoryBroker::new(), Notes::new());
    let logs = [(); 2].map(|()| broker.source(source()));
    let stores = [harness.store(), &other];
    let start = |(store, log): (&Arc<H::Store>, &MemorySource)| {
        let mixed = Meddled(log.clone(), Arc::new(Mixed));
        spawn(inbox(store.as_ref(), noting(&notes), mixed))
    };
    let handles: Vec<_> = stores.into_iter().zip(&logs).map(start).collect();
    publish(&broker, 0, 100).await;
    for log in &logs {
        until("both read everything", async || log.acked() == 100).await;
    }
    for handle in handles {
        finish(handle).await;
    }
    assert_eq!(notes.sorted(), ids(100));
    assert_eq!(stats(other.as_ref(), "a").await.dead, 0);
    assert_eq!(other.position(&source()).await.expect("a position"), None);
}
