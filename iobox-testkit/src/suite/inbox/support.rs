//! What the cases of the inbox share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Inbox, Router,
    dispatch::RetryPolicy,
    handler::{Handler, HandlerError},
    inbox::{
        Delivery, HandlerName, HandlerPolicy, InboxHandle, Received, SourceName, Subscription,
        TopicPattern,
    },
    message::{Draft, Message},
    partition::Partition,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, Body, Change, Epoch, FetchPartition, FetchRequest, Ingest,
        InstanceId, Pending, Receive, RenewRequest, Settlement, Stats, Subscribe, Verdict,
    },
};
use uuid::Uuid;

use crate::suite::support::{PATIENCE, TTL};

/// The source of every delivery that a case does not say more about.
#[must_use]
pub fn source() -> SourceName {
    SourceName::new("shop").expect("a source")
}

/// The name of a handler.
#[must_use]
pub fn name(handler: &str) -> HandlerName {
    HandlerName::new(handler).expect("the suite writes valid names")
}

/// The queue of a handler.
#[must_use]
pub fn queue(handler: &str) -> Queue {
    Queue::Inbox(name(handler))
}

/// A subscription.
#[must_use]
pub fn subscription(pattern: &str, handler: &str) -> Subscription {
    Subscription {
        pattern: TopicPattern::new(pattern).expect("the suite writes valid patterns"),
        handler: name(handler),
    }
}

/// Subscribes handlers to patterns.
pub async fn subscribe<S: Subscribe>(store: &S, all: &[(&str, &str)]) {
    let all: Vec<_> = all.iter().map(|(p, h)| subscription(p, h)).collect();
    store.subscribe(&all).await.expect("subscribe");
}

/// A delivery of the topic with an id and, unless it is empty, a key.
#[must_use]
pub fn delivery(topic: &str, id: &str, key: &str) -> Delivery {
    let draft = Draft::new(topic, id.to_owned()).id(id);
    let draft = if key.is_empty() {
        draft
    } else {
        draft.key(key)
    };
    Delivery::foreign(&draft).expect("a delivery")
}

/// Receives deliveries.
pub async fn receive<S: Receive>(store: &S, deliveries: &[Delivery]) -> Vec<Received> {
    let received = store.receive(&source(), deliveries).await;
    received.expect("receive")
}

/// The ids of rows, in their order.
#[must_use]
pub fn messages(rows: &[Pending]) -> Vec<String> {
    let id = |row: &Pending| match &row.body {
        Body::Message(message) => message.id().to_string(),
        Body::Corrupt(reason) => panic!("{reason}"),
    };
    rows.iter().map(id).collect()
}

/// The counts of a handler's queue.
pub async fn stats<S: Subscribe>(store: &S, handler: &str) -> Stats {
    let of = store.queue_of(&name(handler)).await.expect("a queue");
    of.stats(&queue(handler)).await.expect("stats")
}

/// An inbox with short pauses.
pub fn inbox<S: Receive>(store: &S, router: Router<S>) -> Inbox<S> {
    Inbox::builder(store.clone(), router)
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .build()
        .expect("an inbox")
}

/// A policy with short backoffs.
pub fn quick(attempts: u32) -> HandlerPolicy {
    let (base, cap) = (Duration::from_millis(2), Duration::from_millis(10));
    let retry = RetryPolicy::new(base, cap, attempts).expect("a policy");
    HandlerPolicy::new().retry(retry)
}

/// Waits until an inbox has handled everything, then stops it.
pub async fn finish<S: Receive>(handle: InboxHandle<S>) {
    let empty = handle.wait_until_empty(PATIENCE).await;
    empty.expect("everything is handled");
    handle.drain().await.expect("a drain");
}

/// A handler that notes what it handled, and fails as a script says.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    calls: BTreeMap<String, u32>,
    handled: Vec<String>,
}

impl Notes {
    /// A handler that has handled nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ids that it handled, in order.
    #[must_use]
    pub fn handled(&self) -> Vec<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.handled.clone()
    }

    /// The ids that it handled, sorted.
    #[must_use]
    pub fn sorted(&self) -> Vec<String> {
        let mut handled = self.handled();
        handled.sort_unstable();
        handled
    }

    /// How often it was called with an id.
    #[must_use]
    pub fn calls(&self, id: &str) -> u32 {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.calls.get(id).copied().unwrap_or_default()
    }
}

/// What an id says: `<what>-<number of times>-<anything>`.
#[async_trait]
impl Handler for Notes {
    async fn handle(&self, message: &Message) -> Result<(), HandlerError> {
        let id = message.id().to_string();
        let call = {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let call = noted.calls.entry(id.clone()).or_default();
            *call += 1;
            *call
        };
        let mut parts = id.split('-');
        let what = parts.next().unwrap_or_default();
        let times: u32 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if call <= times {
            match what {
                "retry" => return Err(HandlerError::Retry("not yet".into())),
                "later" => {
                    let pause = Duration::from_millis(1);
                    return Err(HandlerError::RetryAfter(pause, "not yet".into()));
                }
                "reject" => return Err(HandlerError::Reject("never".into())),
                "panic" => panic!("as the id says"),
                "hang" => std::future::pending().await,
                _ => {}
            }
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.handled.push(id);
        Ok(())
    }
}

/// An instance that works the queue of a handler, or holds the right to read a source, by hand.
#[derive(Debug)]
pub struct Worker<S> {
    queue_store: S,
    of: Queue,
    id: InstanceId,
    held: Vec<(Partition, Epoch)>,
}

impl<S: Ingest> Worker<S> {
    /// Registers, and takes the right to read the source if it is free and the clock does not pass
    /// over it meanwhile.
    pub async fn reading(store: &S, source: &SourceName) -> Self {
        let queue_store = store.ingest_of(source).await.expect("a right to read");
        let mut new = Self::register(queue_store, Queue::Ingest(source.clone())).await;
        new.acquire().await;
        new
    }

    /// The epoch under which it has the right to read, if it got it.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.held.first().map(|(_, epoch)| *epoch)
    }
}

impl<S: Subscribe> Worker<S> {
    /// Registers, and takes every partition that is free.
    pub async fn new(store: &S, handler: &str) -> Self {
        let queue_store = store.queue_of(&name(handler)).await.expect("a queue");
        let mut new = Self::register(queue_store, queue(handler)).await;
        assert!(new.acquire().await, "a new instance is alive");
        new
    }

    async fn register(queue_store: S, of: Queue) -> Self {
        let id = InstanceId::new(Uuid::from_u128(fastrand::u128(..)));
        let renewal = RenewRequest {
            queue: of.clone(),
            instance: id,
            ttl: TTL,
            register: true,
            in_flight: 0,
        };
        queue_store.renew(&renewal).await.expect("renew");
        Self {
            queue_store,
            of,
            id,
            held: Vec::new(),
        }
    }

    /// Takes every partition that is free; returns whether it is alive.
    pub async fn acquire(&mut self) -> bool {
        let request = AcquireRequest {
            queue: self.of.clone(),
            instance: self.id,
            held: self.held.clone(),
        };
        let acquired = self.queue_store.acquire(&request).await.expect("acquire");
        let Acquired::Share { granted, .. } = acquired else {
            return false;
        };
        for grant in granted {
            self.held.retain(|(one, _)| *one != grant.partition);
            self.held.push((grant.partition, grant.epoch));
        }
        true
    }

    /// The store of the queue.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.queue_store
    }

    /// The instance.
    #[must_use]
    pub const fn id(&self) -> InstanceId {
        self.id
    }

    /// What may run.
    pub async fn fetch(&self) -> Vec<Pending> {
        let part = |&(partition, epoch): &(_, _)| FetchPartition {
            partition,
            epoch,
            limit: 1_000,
            held: Vec::new(),
            full: Vec::new(),
            release: Vec::new(),
            sweep: false,
        };
        let request = FetchRequest {
            queue: self.of.clone(),
            partitions: self.held.iter().map(part).collect(),
            limit: 10_000,
            bytes: 64 * 1024 * 1024,
        };
        let fetched = self.queue_store.fetch(&request).await.expect("fetch");
        fetched.pending
    }

    /// The settlement that says that a row was handled.
    #[must_use]
    pub fn success(&self, row: &Pending) -> Settlement {
        let held = self.held.iter().find(|(one, _)| *one == row.partition);
        Settlement {
            partition: row.partition,
            epoch: held.expect("the partition is held").1,
            seq: row.seq,
            revision: row.revision,
            attempt: row.attempt + 1,
            change: Change::Verdict(Verdict::Done { duplicate: false }),
        }
    }
}
