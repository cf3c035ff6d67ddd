//! The handle of a relay that runs as a task of its own.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Health, Relay};
use crate::{
    Error, ErrorKind, Result,
    queue::Queue,
    running::Running,
    store::{Admin, Stats},
};

/// The first pause between two looks at the store; each is twice as long as the last.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest pause between two looks at the store.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A relay that runs as a task of its own; made by [`Relay::spawn`].
///
/// Dropping the handle stops the relay as [`stop`](Self::stop) does, without waiting for the end of
/// the drain. When the runtime is shut down before that end, it is as if the process were killed:
/// messages in flight may be sent again, and the partitions are free after the time-to-live.
#[must_use = "a relay stops when its handle is dropped"]
pub struct RelayHandle {
    running: Running,
    health: Health,
    admin: Arc<dyn Admin>,
    queue: Queue,
}

impl Relay {
    /// Runs the relay as a task of the current runtime, until its handle is told to
    /// [`drain`](RelayHandle::drain) or is dropped.
    ///
    /// What keeps it from running, such as tables that are not migrated, ends it at once: it is logged, and
    /// `join` returns it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> RelayHandle {
        let (health, admin) = (self.health(), Arc::clone(&self.parts.admin));
        let queue = self.parts.settings.queue.clone();
        RelayHandle {
            running: Running::spawn("relay", |stopped| self.run(stopped.wait())),
            health,
            admin,
            queue,
        }
    }
}

impl RelayHandle {
    /// A view of its health, for a liveness probe.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Tells the relay to drain, and returns at once: nothing new is sent from now on, messages in
    /// flight have the grace time to end, partitions are released. [`join`](Self::join) waits for the
    /// end.
    pub fn stop(&self) {
        self.running.stop();
    }

    /// Stops the relay and waits until it has drained, at most the grace time and half a second.
    ///
    /// When this future is dropped the drain goes on.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub async fn drain(self) -> Result<()> {
        self.stop();
        self.join().await
    }

    /// Waits until the relay has ended: after [`stop`](Self::stop), or by itself with an error.
    ///
    /// When this future is dropped the relay drains.
    ///
    /// # Errors
    /// As for [`Relay::run`]; [`Unavailable`](ErrorKind::Unavailable) when the runtime was shut down.
    ///
    /// # Panics
    /// When the relay panicked.
    pub async fn join(mut self) -> Result<()> {
        self.running.join().await
    }

    /// Waits until the outbox has nothing pending, retrying or waiting, at most `limit`. For tests,
    /// examples and tools.
    ///
    /// It is a snapshot: a message that is committed after it was taken is not in it, so call it
    /// when nobody enqueues any more. Dead letters do not count; messages that wait behind the dead
    /// one of a halted key do. The relays of all processes do the work, this one waits. Each look
    /// costs what [`Admin::stats`] costs, and there are some ten a second.
    ///
    /// Safe to drop.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable), with what is left, after `limit` or when the relay has
    /// ended; any other error of the store.
    pub async fn wait_until_empty(&self, limit: Duration) -> Result<()> {
        let mut left = None;
        let Ok(ended) = timeout(limit, self.empty_or_ended(&mut left)).await else {
            let left = describe(left.as_ref());
            return Err(Error::unavailable(format!(
                "the outbox is not empty after {limit:?}: {left}"
            )));
        };
        match ended? {
            Some(stats) => Err(Error::unavailable(format!(
                "the relay has ended before the outbox was empty: {}",
                describe(Some(&stats))
            ))),
            None => Ok(()),
        }
    }

    /// Returns `None` when the outbox is empty, or what is left when the relay has ended.
    async fn empty_or_ended(&self, left: &mut Option<Stats>) -> Result<Option<Stats>> {
        let mut health = self.health();
        let mut pause = PAUSE_MIN;
        loop {
            // As long as it has messages in memory there is no need to ask the store.
            let running = health.wait_until(|report| report.buffered_messages == 0);
            let running = running.await && !health.report().stopped;
            match self.admin.stats(&self.queue).await {
                Ok(stats) if stats.unsettled() == 0 => return Ok(None),
                Ok(stats) if !running => return Ok(Some(stats)),
                Ok(stats) => *left = Some(stats),
                Err(error) if running && error.kind() == ErrorKind::Unavailable => {}
                Err(error) => return Err(error),
            }
            // A pause, unless the relay ends.
            let _ = timeout(pause, health.wait_until(|report| report.stopped)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn describe(left: Option<&Stats>) -> String {
    left.map_or_else(
        || String::from("the store did not say what is left"),
        |stats| {
            format!(
                "{} pending, {} retrying, {} waiting, {} halted keys",
                stats.pending, stats.retrying, stats.waiting, stats.halted_keys
            )
        },
    )
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayHandle")
            .field("queue", &self.queue)
            .field("health", &self.health.report())
            .finish_non_exhaustive()
    }
}
