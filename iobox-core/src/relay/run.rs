//! Running a relay.

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep_until};

use super::{Health, RelayBuilder, purge::purge};
use crate::{
    Error, ErrorKind, Result, Store,
    driver::{Driver, PublishExecutor, Turn, clock},
    publisher::Publisher,
    store::Admin,
};

/// The pause between two tries to reach the store at start.
const RETRY: Duration = Duration::from_secs(1);

/// Moves messages from an outbox to a broker, in order per key, until it is told to stop.
///
/// Any number may run, in any number of processes: each works its share of the partitions.
pub struct Relay {
    pub(super) parts: RelayBuilder,
    pub(super) turns: watch::Sender<Turn>,
    pub(super) health: Health,
}

impl Relay {
    /// Starts to build a relay from `store` to `publisher`. Both may be values or `Arc`s.
    pub fn builder<S: Store + Admin, P: Publisher>(store: S, publisher: P) -> RelayBuilder {
        RelayBuilder::new(store, publisher)
    }

    /// A view of its health, for a liveness probe.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Runs until `shutdown` completes, then drains: nothing new is sent from that moment on,
    /// messages in flight have the grace time to end, partitions are released. No attempt is counted
    /// for what did not run.
    ///
    /// When this future is dropped instead, messages in flight may be sent again by whoever takes
    /// the partitions over, after the time-to-live.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the store or the broker needs a person first: not
    /// migrated, newer than the program, a missing stream. A store or broker that cannot be reached
    /// is waited for.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            ready = self.ready() => ready?,
        }
        let mut background = JoinSet::new();
        let parts = self.parts;
        if let Some(retention) = parts.retention {
            background.spawn(purge(
                parts.admin,
                parts.settings.queue.clone(),
                retention,
                self.turns.subscribe(),
            ));
        }
        let executor = PublishExecutor::new(parts.publisher, parts.settings.execute_timeout);
        let queue = parts.settings.queue.clone();
        Driver::new(
            parts.settings,
            parts.store,
            Arc::new(executor),
            parts.ids,
            self.turns,
        )
        .observed(&queue, parts.observer.as_ref())
        .run(shutdown)
        .await;
        Ok(())
    }

    /// Waits for the store, and asks the broker what its word is worth.
    async fn ready(&self) -> Result<()> {
        let queue = &self.parts.settings.queue;
        loop {
            match self.parts.store.open(queue).await {
                Ok(_) => break,
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the store cannot be reached; trying again");
                    self.turn();
                    let again = self.turns.borrow().at + RETRY;
                    sleep_until(again).await;
                }
                Err(error) => return Err(error),
            }
        }
        match self.parts.publisher.probe().await {
            Ok(durability) => tracing::info!(?durability, "the broker is there"),
            Err(error) if must_refuse(&error) => return Err(error),
            Err(error) => tracing::warn!(%error, "the broker cannot be reached; it is waited for"),
        }
        Ok(())
    }

    /// Shows that the relay is alive while it waits.
    fn turn(&self) {
        self.turns.send_modify(|turn| turn.at = clock());
    }
}

fn must_refuse(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Rejected)
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relay").field(&self.parts).finish()
    }
}
