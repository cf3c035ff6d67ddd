//! The feed: a source of an inbox, and what reads it.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep_until};

use super::{HandlerName, ingest::Ingester};
use crate::{
    Result,
    dispatch::Settings,
    driver::{clock, within},
    message::IdSource,
    queue::Queue,
    running::Stopped,
    source::Source,
    store::Ingest,
};

/// How long after a panic a source is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// What runs until it is told to stop.
pub(super) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source, with the code that reads it into a store of this kind.
pub(super) struct Feed<S> {
    pub(super) source: Arc<dyn Source>,
    run: fn(Arc<dyn Source>, Reading<S>, Stopped) -> Running,
}

/// What the reading of every source of an inbox has in common.
#[derive(Clone)]
pub(super) struct Reading<S> {
    pub(super) store: S,
    pub(super) settings: Settings,
    /// The most rows that a handler of this program may have to do.
    pub(super) max_backlog: u32,
    /// What is older than this when it is read may have been handled and forgotten.
    pub(super) horizon: Duration,
    pub(super) handlers: Vec<HandlerName>,
    pub(super) ids: Arc<dyn IdSource>,
}

impl<S> Reading<S> {
    /// Waits for a call of the store, no longer than it takes a right to be lost for sure.
    pub(super) async fn ask<T>(
        &self,
        call: &str,
        asking: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        within(self.settings.ttl * 3, call, asking).await
    }
}

impl<S: Ingest> Feed<S> {
    pub(super) fn new(source: impl Source) -> Self {
        Self {
            source: Arc::new(source),
            run: |source, reading, stopped| Box::pin(keep_reading(source, reading, stopped)),
        }
    }
}

impl<S> Feed<S> {
    /// Reads the source until it is told to stop.
    pub(super) fn run(&self, mut reading: Reading<S>, stopped: Stopped) -> Running {
        reading.settings.queue = Queue::Ingest(self.source.name().clone());
        reading.settings.rights_only = true;
        (self.run)(Arc::clone(&self.source), reading, stopped)
    }
}

/// Reads until it is told to stop. A panic, of a reader or of a store, ends one reading, not all: its right
/// ends with its lease, and is had anew.
async fn keep_reading<S: Ingest>(source: Arc<dyn Source>, reading: Reading<S>, stopped: Stopped) {
    loop {
        let mut task = JoinSet::new();
        let ingester = Ingester::new(Arc::clone(&source), reading.clone());
        task.spawn(ingester.run(stopped.clone()));
        match task.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                let name = source.name();
                tracing::error!(source = %name, "reading a source panicked; it is read again in {AGAIN:?}");
            }
            _ => return,
        }
        tokio::select! {
            biased;
            () = stopped.clone().wait() => return,
            () = sleep_until(clock() + AGAIN) => {}
        }
    }
}

impl<S> fmt::Debug for Feed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
