//! Rates: how fast a store ingests, and how fast an inbox on it handles.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use iobox::{
    Inbox, Router, Store,
    inbox::{Delivery, HandlerName, SourceName, Subscription, TopicPattern},
    message::{Draft, IdSource as _, RandomIds},
    queue::Queue,
    source::Position,
    store::{
        AcquireRequest, Acquired, Epoch, Ingest, IngestRequest, Ingested, InstanceId, RenewRequest,
    },
};
use tokio::{sync::Notify, time::timeout};

use super::Args;
use crate::relay::PAYLOAD;

/// The deliveries of one ingest.
const BATCH: usize = 1_000;
/// The longest that one measurement may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The topic of every message.
pub(super) const TOPIC: &str = "bench.message";
/// The name of the only handler.
pub(super) const HANDLER: &str = "bench";

/// Counts what was handled, and tells when it was all.
#[derive(Debug, Clone)]
pub(super) struct Count(Arc<(AtomicUsize, Notify)>);

impl Count {
    pub(super) fn new(expected: usize) -> Self {
        Self(Arc::new((AtomicUsize::new(expected), Notify::new())))
    }

    pub(super) fn one(&self) {
        let (left, all) = &*self.0;
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            all.notify_one();
        }
    }

    async fn all(self) {
        self.0.1.notified().await;
    }
}

/// A delivery like every other.
pub(super) fn delivery(args: &Args, id: usize) -> Result<Delivery> {
    let draft = Draft::new(TOPIC, vec![b'x'; PAYLOAD])
        .id(id)
        .key(format_args!("key-{}", id % args.keys.max(1)));
    Ok(Delivery::foreign(&draft)?)
}

/// Takes the right to read a source.
async fn right<S: Ingest + Store>(store: &S, source: &SourceName) -> Result<Epoch> {
    let right = store.ingest_of(source).await?;
    let (queue, instance) = (
        Queue::Ingest(source.clone()),
        InstanceId::new(RandomIds.draw()),
    );
    let renewal = RenewRequest {
        queue: queue.clone(),
        instance,
        ttl: PATIENCE,
        register: true,
        in_flight: 0,
    };
    right.renew(&renewal).await?;
    let request = AcquireRequest {
        queue,
        instance,
        held: Vec::new(),
    };
    match right.acquire(&request).await? {
        Acquired::Share { granted, .. } => Ok(granted.first().context("no right")?.epoch),
        Acquired::Gone => bail!("the instance is gone"),
    }
}

/// Ingests all messages for the handler, in batches. Returns how long the calls took.
pub(super) async fn ingest<S: Ingest + Store>(store: &S, args: &Args) -> Result<Duration> {
    let subscription = Subscription {
        pattern: TopicPattern::new(TOPIC)?,
        handler: HandlerName::new(HANDLER)?,
    };
    store.subscribe(&[subscription]).await?;
    let source = SourceName::new("bench")?;
    let epoch = right(store, &source).await?;
    let mut requests = Vec::new();
    let mut from = None;
    for first in (0..args.messages).step_by(BATCH) {
        let end = args.messages.min(first + BATCH);
        let to = Position::new(end.to_string())?;
        requests.push(IngestRequest {
            epoch,
            from: from.replace(to.clone()),
            to,
            deliveries: (first..end)
                .map(|id| delivery(args, id))
                .collect::<Result<_>>()?,
        });
    }
    let start = Instant::now();
    for request in &requests {
        let ingested = store.ingest(&source, request).await?;
        ensure!(matches!(ingested, Ingested::Stored(_)), "{ingested:?}");
    }
    Ok(start.elapsed())
}

/// Runs an inbox until everything is handled. Returns how long it took from its start to its end,
/// everything recorded and the partitions given back.
pub(super) async fn handle<S: Ingest>(
    store: &S,
    router: Router<S>,
    count: Count,
) -> Result<Duration> {
    let inbox = Inbox::builder(store.clone(), router).build()?;
    let start = Instant::now();
    timeout(PATIENCE, inbox.run(count.all()))
        .await
        .context("the inbox did not end in time")??;
    let took = start.elapsed();
    let handler = HandlerName::new(HANDLER)?;
    let queue = store.queue_of(&handler).await?;
    let stats = queue.stats(&Queue::Inbox(handler)).await?;
    ensure!(
        stats.unsettled() == 0,
        "not everything is handled: {stats:?}"
    );
    Ok(took)
}
