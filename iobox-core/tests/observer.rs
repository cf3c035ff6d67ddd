//! What an observer of a relay hears, and when.

#![allow(
    clippy::disallowed_methods,
    reason = "the paused clock jumps from timer to timer"
)]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Outbox, Relay, Result, Store,
    dispatch::{DeadLetterPolicy, RetryPolicy},
    memory::{MemoryBroker, MemoryStore},
    message::{Draft, Message, MessageId},
    observer::{Observed, Observer},
    partition::Partitions,
    publisher::{Durability, Outcomes, PublishError, Publisher, Receipt},
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Admin, Discarded, Entry, FetchRequest, Fetched, Filter, Page,
        ReleaseRequest, RenewRequest, Renewed, ReplayId, ReplayProgress, Replayed, Selection,
        Settled, Settlement, Signal, State, Stats, StoreInfo, WakeUp,
    },
};
use tokio::sync::watch;

/// A store whose settles fail, without effect or with their reply lost, until they are let through.
#[derive(Debug, Clone)]
struct Stubborn {
    inner: MemoryStore,
    refuses: Arc<AtomicBool>,
    applies: bool,
    refused: watch::Sender<u32>,
}

impl Stubborn {
    fn new(applies: bool) -> Self {
        Self {
            inner: MemoryStore::new(Partitions::new(1).expect("a count")),
            refuses: Arc::new(AtomicBool::new(true)),
            applies,
            refused: watch::Sender::new(0),
        }
    }
}

#[async_trait]
impl Store for Stubborn {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.inner.open(queue).await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.inner.renew(request).await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.inner.acquire(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.inner.release(request).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        self.inner.fetch(request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        if !self.refuses.load(Ordering::SeqCst) {
            return self.inner.settle(settlements).await;
        }
        if self.applies {
            self.inner.settle(settlements).await?;
        }
        self.refused.send_modify(|count| *count += 1);
        Err(Error::unavailable("not now"))
    }

    fn signal(&self) -> &Signal {
        self.inner.signal()
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        None
    }
}

#[async_trait]
impl Admin for Stubborn {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.inner.stats(queue).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.inner.list(queue, filter, page).await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.inner.get(queue, id).await
    }

    async fn replay(&self, queue: &Queue, which: &Selection, dry_run: bool) -> Result<Replayed> {
        self.inner.replay(queue, which, dry_run).await
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.inner.replay_progress(queue, replay).await
    }

    async fn discard(&self, queue: &Queue, which: &Selection, dry_run: bool) -> Result<Discarded> {
        self.inner.discard(queue, which, dry_run).await
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.inner.purge(queue, retention, limit).await
    }
}

/// Says of each message what its id says.
#[derive(Debug)]
struct ById;

#[async_trait]
impl Publisher for ById {
    async fn publish(&self, batch: &[Message], outcomes: &mut Outcomes) {
        for (index, message) in batch.iter().enumerate() {
            let outcome = match message.id().as_str() {
                "never" => Err(PublishError::Permanent("never".into())),
                "not-now" => Err(PublishError::Transient("not now".into())),
                _ => Ok(Receipt::new()),
            };
            outcomes.report(index, outcome);
        }
    }

    async fn probe(&self) -> Result<Durability> {
        MemoryBroker::new().probe().await
    }
}

/// Notes what it hears, and the state in which the row is at that moment.
#[derive(Debug, Clone)]
struct Notes {
    store: MemoryStore,
    heard: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
}

impl Notes {
    fn new(store: &MemoryStore) -> Self {
        Self {
            store: store.clone(),
            heard: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard
            .lock()
            .expect("no panic while it is held")
            .clone()
    }

    fn note(&self, what: &str, message: &Observed<'_>) {
        let id = message.id.expect("the row can be decoded");
        assert_eq!(message.topic.expect("so can its topic").as_str(), "t");
        let state = state_of(&self.store, message.queue, id);
        let (attempt, reason, halts) = (message.attempt, message.reason, message.halts);
        let line = format!("{what} {id} {attempt} {reason} {halts} {state}");
        self.heard
            .lock()
            .expect("no panic while it is held")
            .push(line);
        self.count.send_modify(|count| *count += 1);
    }
}

/// The store in memory answers at the first poll.
fn state_of(store: &MemoryStore, queue: &Queue, id: &MessageId) -> State {
    let mut get = pin!(store.get(queue, id));
    match get.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(entry) => entry.expect("get").expect("the row is there").state,
        Poll::Pending => panic!("the store in memory does not wait"),
    }
}

impl Observer for Notes {
    fn on_retry(&self, message: &Observed<'_>) {
        self.note("retry", message);
    }

    fn on_dead(&self, message: &Observed<'_>) {
        self.note("dead", message);
    }

    fn on_halted(&self, message: &Observed<'_>) {
        self.note("halted", message);
    }
}

async fn enqueue(store: &MemoryStore, drafts: &[Draft]) {
    let outbox = Outbox::new(store.clone());
    let mut tx = store.begin();
    outbox.enqueue(&mut tx, drafts).await.expect("enqueue");
    tx.commit().expect("commit");
}

/// The observer hears of a failure after it is stored, and not before: neither while the settle fails,
/// nor while nobody knows whether it took effect.
#[tokio::test(start_paused = true)]
async fn an_observer_hears_what_is_stored_and_not_before() {
    for applies in [false, true] {
        let store = Stubborn::new(applies);
        let notes = Notes::new(&store.inner);
        enqueue(&store.inner, &[Draft::new("t", "").id("never").key("k")]).await;
        let relay = Relay::builder(store.clone(), ById)
            .observer(notes.clone())
            .build()
            .expect("a relay")
            .spawn();
        let mut refused = store.refused.subscribe();
        refused
            .wait_for(|count| *count >= 3)
            .await
            .expect("refusals");
        assert_eq!(notes.heard(), [""; 0]);
        store.refuses.store(false, Ordering::SeqCst);
        let mut count = notes.count.subscribe();
        count.wait_for(|count| *count >= 2).await.expect("calls");
        relay.drain().await.expect("a drain");
        let heard = [
            "dead never 1 never true dead",
            "halted never 1 never true dead",
        ];
        assert_eq!(notes.heard(), heard);
    }
}

/// What does not halt a key is not told as halting: a message without a key, or under the policy that
/// lets the key go on.
#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_each_attempt() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let notes = Notes::new(&store);
    enqueue(
        &store,
        &[
            Draft::new("t", "").id("not-now"),
            Draft::new("t", "").id("fine"),
        ],
    )
    .await;
    let ms = Duration::from_millis(1);
    let relay = Relay::builder(store.clone(), ById)
        .observer(notes.clone())
        .retry(RetryPolicy::new(ms, ms * 5, 3).expect("a policy"))
        .build()
        .expect("a relay")
        .spawn();
    let mut count = notes.count.subscribe();
    count.wait_for(|count| *count >= 3).await.expect("calls");
    relay.drain().await.expect("a drain");
    let heard = [
        "retry not-now 1 not now false retrying",
        "retry not-now 2 not now false retrying",
        "dead not-now 3 gave up after 3 attempts: not now false dead",
    ];
    assert_eq!(notes.heard(), heard);
}

/// An observer that panics at every call, and counts them.
#[derive(Debug, Clone, Default)]
struct Panics(Arc<AtomicU32>);

impl Observer for Panics {
    fn on_dead(&self, _: &Observed<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("as the test wants");
    }

    fn on_halted(&self, _: &Observed<'_>) {
        self.0.fetch_add(100, Ordering::SeqCst);
        panic!("as the test wants");
    }
}

/// An observer that panics stops nothing, and hears of the next one.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_stops_nothing() {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let observer = Panics::default();
    enqueue(&store, &[Draft::new("t", "").id("never").key("k")]).await;
    let relay = Relay::builder(store.clone(), ById)
        .observer(observer.clone())
        .dead_letters(DeadLetterPolicy::HaltKey)
        .build()
        .expect("a relay")
        .spawn();
    relay
        .wait_until_empty(Duration::from_secs(60))
        .await
        .expect("nothing is left");
    let fine: Vec<_> = (0..50).map(|n| Draft::new("t", "").id(n)).collect();
    enqueue(&store, &fine).await;
    relay
        .wait_until_empty(Duration::from_secs(60))
        .await
        .expect("nothing is left");
    relay.drain().await.expect("a drain");
    assert_eq!(observer.0.load(Ordering::SeqCst), 101);
    let stats = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!((stats.dead, stats.pending), (1, 0));
}
