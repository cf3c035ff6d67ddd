//! The ingester: reads one source, and stores what it reads.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    backlog::Backlog,
    feed::Reading,
    intake::{Intake, Why},
    right::Right,
};
use crate::{
    driver::clock,
    inbox::SourceName,
    message::Limits,
    running::Stopped,
    source::{Order, Reader, Source, Start},
    store::{Epoch, Ingest, Store},
};

/// The shortest and the longest pause before a source is opened again, or the store asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How long a reader may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// Reads one source.
pub(super) struct Ingester<S> {
    source: Arc<dyn Source>,
    reading: Reading<S>,
}

/// Why the reading under one right ended.
enum End {
    /// The right is gone.
    Lost,
    /// The source could not be read for three times the time-to-live.
    Unreadable,
}

/// What is to be given back at the end.
#[derive(Default)]
struct Held {
    reader: Option<Box<dyn Reader>>,
    right: Option<Right>,
}

/// How long to wait before the next try.
#[derive(Default)]
struct Pause {
    failures: u32,
    since: Option<Instant>,
}

impl Pause {
    /// Waits longer with every failure in a row.
    async fn wait(&mut self) {
        let [shortest, longest] = PAUSES;
        self.since.get_or_insert_with(clock);
        let pause = shortest.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        sleep_until(clock() + pause.min(longest)).await;
    }

    /// For how long nothing succeeded.
    fn lasts(&self) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| clock().duration_since(since))
    }
}

impl<S: Ingest + Store> Ingester<S> {
    pub(super) fn new(source: Arc<dyn Source>, reading: Reading<S>) -> Self {
        Self { source, reading }
    }

    /// Reads until it is told to stop, then gives the right to read back. What was read and is not
    /// stored then arrives again.
    pub(super) async fn run(self, stopped: Stopped) {
        let mut held = Held::default();
        let read = async {
            match self.source.order() {
                Order::Stream => self.read_in_order(&mut held).await,
                Order::None => self.read_without_order(&mut held.reader).await,
            }
        };
        tokio::select! {
            biased;
            () = stopped.wait() => {}
            () = read => {}
        }
        close(&mut held.reader).await;
        if let Some(right) = held.right {
            right.give_back().await;
        }
    }

    /// Reads whenever this instance has the right to.
    async fn read_in_order(&self, held: &mut Held) {
        loop {
            let queue = self.queue().await;
            let (settings, ids) = (self.reading.settings.clone(), Arc::clone(&self.reading.ids));
            let right = Right::seek(settings, Arc::new(queue), ids);
            self.read_with(held.right.insert(right), &mut held.reader)
                .await;
            tracing::warn!(source = %self.name(), "leaves the source to another instance until it can be read here");
            if let Some(right) = held.right.take() {
                right.give_back().await;
            }
            self.wait_for_source().await;
        }
    }

    /// Reads under one epoch after the other, until the source cannot be read.
    async fn read_with(&self, right: &mut Right, reader: &mut Option<Box<dyn Reader>>) {
        let mut last = None;
        loop {
            let epoch = right.held(last).await;
            last = Some(epoch);
            let end = tokio::select! {
                biased;
                () = right.gone(epoch) => End::Lost,
                end = self.read_under(epoch, reader) => end,
            };
            close(reader).await;
            if matches!(end, End::Unreadable) {
                return;
            }
        }
    }

    /// Reads under one epoch, with one reader after the other.
    async fn read_under(&self, epoch: Epoch, slot: &mut Option<Box<dyn Reader>>) -> End {
        let unreadable_after = self.reading.settings.ttl * 3;
        let mut backlog = Backlog::new(&self.reading);
        let (mut opening, mut pause) = (0, Pause::default());
        loop {
            opening += 1;
            let position = self.reading.store.position(self.name());
            let position = match self.reading.ask("position", position).await {
                Ok(position) => position,
                Err(error) => {
                    tracing::warn!(source = %self.name(), %error, "the position cannot be read; trying again");
                    Pause::default().wait().await;
                    continue;
                }
            };
            let start = Start::new(position, epoch, opening, self.limits());
            let why = match self.source.open(&start).await {
                Ok(reader) => {
                    let reader = slot.insert(reader);
                    let mut intake = self.intake(&start);
                    let why = intake.take(reader.as_mut(), &mut backlog).await;
                    if intake.read_any() {
                        pause = Pause::default();
                    }
                    close(slot).await;
                    why
                }
                Err(error) => Why::Source(error),
            };
            match why {
                Why::Lost => return End::Lost,
                Why::Elsewhere => {}
                Why::Store(error) => {
                    tracing::error!(source = %self.name(), %error, "what was read cannot be stored; trying again");
                    pause.wait().await;
                }
                Why::Source(error) => {
                    tracing::warn!(source = %self.name(), %error, "the source cannot be read; opening it again");
                    metrics::counter!("iobox_ingest_openings_total", "source" => self.name().to_string())
                        .increment(1);
                    pause.wait().await;
                    if pause.lasts() >= unreadable_after {
                        return End::Unreadable;
                    }
                }
            }
        }
    }

    /// Reads beside every other instance; the broker knows what was acked.
    async fn read_without_order(&self, slot: &mut Option<Box<dyn Reader>>) {
        let mut backlog = Backlog::new(&self.reading);
        let mut pause = Pause::default();
        let start = Start::new(None, Epoch(0), 1, self.limits());
        loop {
            let failed = match self.source.open(&start).await {
                Ok(reader) => {
                    let reader = slot.insert(reader);
                    let mut intake = self.intake(&start);
                    let why = intake.take(reader.as_mut(), &mut backlog).await;
                    if intake.read_any() {
                        pause = Pause::default();
                    }
                    close(slot).await;
                    match why {
                        Why::Store(error) | Why::Source(error) => error,
                        Why::Lost | Why::Elsewhere => continue,
                    }
                }
                Err(error) => error,
            };
            tracing::warn!(source = %self.name(), error = %failed, "the source cannot be read; opening it again");
            metrics::counter!("iobox_ingest_openings_total", "source" => self.name().to_string())
                .increment(1);
            pause.wait().await;
        }
    }

    /// The store of the queue whose lease is the right to read.
    async fn queue(&self) -> S {
        let mut pause = Pause::default();
        loop {
            let queue = self.reading.store.ingest_of(self.name());
            match self.reading.ask("ingest_of", queue).await {
                Ok(queue) => return queue,
                Err(error) => {
                    tracing::warn!(source = %self.name(), %error, "the store cannot be reached; trying again");
                    pause.wait().await;
                }
            }
        }
    }

    /// Waits until the source can be read.
    async fn wait_for_source(&self) {
        while self.source.probe().await.is_err() {
            sleep_until(clock() + PAUSES[1]).await;
        }
    }

    fn intake<'a>(&'a self, start: &Start) -> Intake<'a, S> {
        Intake::new(&self.reading, self.name(), self.source.order(), start)
    }

    fn limits(&self) -> Limits {
        self.reading.store.limits()
    }

    fn name(&self) -> &SourceName {
        self.source.name()
    }
}

async fn close(slot: &mut Option<Box<dyn Reader>>) {
    if let Some(reader) = slot.take() {
        // One that does not end in time is dropped, which leaves the same to the next reader.
        let _ = timeout(CLOSE, reader.close()).await;
    }
}
