//! The handle of an inbox that runs as a task of its own.

use std::{fmt, time::Duration};

use tokio::time::{sleep_until, timeout};

use super::Inbox;
use crate::{
    Error, ErrorKind, Result,
    driver::clock,
    queue::Queue,
    running::{Running, Stopped},
    store::Receive,
};

/// The pause between two looks at the store.
const PAUSE: Duration = Duration::from_millis(20);

/// An inbox that runs as a task of its own; made by [`Inbox::spawn`].
///
/// Dropping the handle stops the inbox as [`stop`](Self::stop) does, without waiting for the end of
/// the drain.
#[must_use = "an inbox stops when its handle is dropped"]
pub struct InboxHandle<S> {
    running: Running,
    inbox: Inbox<S>,
}

impl<S: Receive> Inbox<S> {
    /// Runs the inbox as a task of the current runtime, until its handle is told to
    /// [`drain`](InboxHandle::drain) or is dropped.
    ///
    /// What keeps it from running, such as tables that are not migrated, ends it at once: it is logged, and
    /// `join` returns it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(&self) -> InboxHandle<S> {
        let inbox = self.clone();
        let run = |stopped: Stopped| async move { inbox.run(stopped.wait()).await };
        InboxHandle {
            running: Running::spawn("inbox", run),
            inbox: self.clone(),
        }
    }
}

impl<S: Receive> InboxHandle<S> {
    /// Tells the inbox to drain, and returns at once.
    pub fn stop(&self) {
        self.running.stop();
    }

    /// Stops the inbox and waits until it has drained. When this future is dropped the drain goes on.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub async fn drain(self) -> Result<()> {
        self.stop();
        self.join().await
    }

    /// Kills the inbox: handlers under way are cancelled, nothing is released, as if the process had
    /// ended. For tests.
    pub fn kill(self) {
        self.running.kill();
    }

    /// Whether the inbox has ended: by an order to stop, or because it could not run.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.running.is_finished()
    }

    /// Waits until the inbox has ended.
    ///
    /// # Errors
    /// As for [`Inbox::run`]; [`Unavailable`](ErrorKind::Unavailable) when the runtime was shut down.
    ///
    /// # Panics
    /// When the inbox panicked.
    pub async fn join(mut self) -> Result<()> {
        self.running.join().await
    }

    /// Waits until this program's handlers have nothing pending, retrying or waiting, at most
    /// `limit`. For tests, examples and tools. It is a snapshot; dead letters do not count, messages
    /// that wait behind one do. Safe to drop.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable), with what is left, after `limit` or when the inbox has
    /// ended; any other error of the store.
    pub async fn wait_until_empty(&self, limit: Duration) -> Result<()> {
        let mut left = String::from("the store did not say what is left");
        let empty = async {
            loop {
                match self.unsettled().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(text)) => left = text,
                    Err(error) if error.kind() == ErrorKind::Unavailable => {}
                    Err(error) => return Err(error),
                }
                if self.running.is_finished() {
                    return Err(Error::unavailable(format!("the inbox has ended: {left}")));
                }
                sleep_until(clock() + PAUSE).await;
            }
        };
        let ended = timeout(limit, empty).await;
        ended.unwrap_or_else(|_| {
            Err(Error::unavailable(format!(
                "the inbox is not empty after {limit:?}: {left}"
            )))
        })
    }

    /// What the first handler that is not done has to do.
    async fn unsettled(&self) -> Result<Option<String>> {
        for name in self.inbox.handlers() {
            let queue = match self.inbox.store().queue_of(name).await {
                Ok(queue) => queue,
                // It has not subscribed yet.
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    return Ok(Some(format!("handler {name} is not subscribed")));
                }
                Err(error) => return Err(error),
            };
            let stats = queue.stats(&Queue::Inbox(name.clone())).await?;
            if stats.unsettled() > 0 {
                return Ok(Some(format!(
                    "handler {name} has {} pending, {} retrying, {} waiting",
                    stats.pending, stats.retrying, stats.waiting
                )));
            }
        }
        Ok(None)
    }
}

impl<S: fmt::Debug> fmt::Debug for InboxHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InboxHandle").field(&self.inbox).finish()
    }
}
