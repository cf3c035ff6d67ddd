//! Running an inbox: one machine for each handler.

use std::{
    future::{Future, pending},
    panic::resume_unwind,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep_until};

use super::{HandlerName, Inbox, feed::Reading};
use crate::{
    ErrorKind, Result,
    driver::{Driver, HandleExecutor, Turn, clock},
    queue::Queue,
    relay::purge::purge,
    running::Stopped,
    store::{Admin, Receive, Store},
};

/// The pause between two tries to reach the store at start.
const RETRY: Duration = Duration::from_secs(1);
/// The most messages that are read of a source at once.
const INGEST_BATCH: usize = 1_000;
/// The most bytes that are read of a source at once.
const INGEST_BYTES: usize = 8 * 1024 * 1024;
/// How often to look for messages to forget.
const FORGET_EVERY: Duration = Duration::from_secs(30);
/// The most messages that are forgotten at once.
const FORGET_MAX: u32 = 1_000;

impl<S: Receive> Inbox<S> {
    /// Registers the subscriptions, then handles messages until `shutdown` completes, then drains:
    /// nothing new is run from that moment on, handlers under way have the grace time to end,
    /// partitions are released. No attempt is counted for what did not run.
    ///
    /// When this future is dropped instead, handlers under way are cancelled, and their messages are
    /// handled again by whoever takes the partitions over, after the time-to-live.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the store needs a person first. A store that cannot be
    /// reached is waited for.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let mut shutdown = pin!(shutdown);
        let queues = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            queues = self.ready() => queues?,
        };
        let (stop, stopped) = Stopped::new();
        let mut background = JoinSet::new();
        background.spawn(forget(Arc::clone(&self.parts)));
        let (mut drivers, mut readers) = (JoinSet::new(), JoinSet::new());
        for (name, queue) in queues {
            let turns = watch::Sender::new(Turn::first());
            let admin: Arc<dyn Admin> = Arc::new(queue.clone());
            let retention = self.parts.retention;
            let of = Queue::Inbox(name.clone());
            background.spawn(purge(admin, of, retention, turns.subscribe()));
            if let Some(driver) = self.driver(&name, queue, turns) {
                drivers.spawn(driver.run(stopped.clone().wait()));
            }
        }
        for feed in &self.parts.feeds {
            readers.spawn(feed.run(self.reading(), stopped.clone()));
        }
        tokio::select! {
            biased;
            () = shutdown => {}
            () = first_panic(&mut drivers) => {}
        }
        stop.send_replace(true);
        while readers.join_next().await.is_some() {}
        while drivers.join_next().await.is_some() {}
        Ok(())
    }

    fn driver(
        &self,
        name: &HandlerName,
        queue: S,
        turns: watch::Sender<Turn>,
    ) -> Option<Driver<HandleExecutor<S>>> {
        let parts = &self.parts;
        let route = parts.handlers.get(name)?;
        let mut settings = parts.settings.clone();
        settings.queue = Queue::Inbox(name.clone());
        route.policy.apply(&mut settings);
        let executor = HandleExecutor::new(
            parts.store.clone(),
            queue.clone(),
            Arc::clone(&route.attempt),
            settings.execute_timeout,
        );
        let (store, ids): (Arc<dyn Store>, _) = (Arc::new(queue), Arc::clone(&parts.ids));
        let of = settings.queue.clone();
        let driver = Driver::new(settings, store, Arc::new(executor), ids, turns);
        Some(driver.observed(&of, parts.observer.as_ref()))
    }

    fn reading(&self) -> Reading<S> {
        let parts = &self.parts;
        let mut settings = parts.settings.clone();
        settings.batch = INGEST_BATCH;
        settings.max_buffered_bytes = settings.max_buffered_bytes.min(INGEST_BYTES);
        Reading {
            store: parts.store.clone(),
            settings,
            max_backlog: parts.max_backlog,
            horizon: parts.horizon,
            handlers: parts.handlers.keys().cloned().collect(),
            ids: Arc::clone(&parts.ids),
        }
    }

    /// Waits for the store, registers, and opens the queue of each handler.
    async fn ready(&self) -> Result<Vec<(HandlerName, S)>> {
        loop {
            match self.open().await {
                Ok(queues) => return Ok(queues),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the inbox cannot be opened yet; trying again");
                    sleep_until(clock() + RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&self) -> Result<Vec<(HandlerName, S)>> {
        self.subscribe().await?;
        for feed in &self.parts.feeds {
            match feed.source.probe().await {
                Err(error) if error.is_retryable() => {
                    let source = feed.source.name();
                    tracing::warn!(%source, %error, "the source cannot be reached; it is waited for");
                }
                probed => probed?,
            }
        }
        let mut queues = Vec::new();
        for name in self.handlers() {
            let queue = self.parts.store.queue_of(name).await?;
            queue.open(&Queue::Inbox(name.clone())).await?;
            queues.push((name.clone(), queue));
        }
        Ok(queues)
    }
}

/// Waits for a driver that panicked, for ever if none does; the panic goes on here.
async fn first_panic(drivers: &mut JoinSet<()>) {
    while let Some(ended) = drivers.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
    }
    pending().await
}

/// Forgets messages for ever that may not arrive again.
async fn forget<S: Receive>(parts: Arc<super::whole::Parts<S>>) {
    loop {
        let forgot = parts
            .store
            .purge_received(parts.horizon, parts.unrouted, FORGET_MAX);
        match forgot.await {
            Ok(forgotten) if forgotten >= u64::from(FORGET_MAX) => continue,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => tracing::warn!(%error, "old messages could not be forgotten"),
        }
        sleep_until(clock() + FORGET_EVERY).await;
    }
}
