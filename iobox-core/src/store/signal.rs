//! The signal: how an application tells the relay of its own process that there is work.

use std::sync::Arc;

use tokio::sync::watch;

/// What the last signals were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    wakes: u64,
    enqueues: u64,
}

/// The in-process signal of a store; clones are the same signal.
#[derive(Debug, Clone)]
pub struct Signal(Arc<watch::Sender<Count>>);

/// What a [`Listener`] heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// A transaction with messages was committed: look now.
    Wake,
    /// Messages were enqueued in a transaction that is not known to be committed: look often for a
    /// moment.
    Enqueued,
}

/// One receiver of a [`Signal`]; each hears every signal.
#[derive(Debug)]
pub struct Listener {
    receiver: watch::Receiver<Count>,
    seen: Count,
}

impl Signal {
    /// A signal that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Count::default())))
    }

    /// Says that a transaction with messages was committed.
    pub fn wake(&self) {
        self.0.send_modify(|count| count.wakes += 1);
    }

    /// Says that messages were enqueued; stores call it in every enqueue.
    pub fn enqueued(&self) {
        self.0.send_modify(|count| count.enqueues += 1);
    }

    /// Starts listening.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let mut receiver = self.0.subscribe();
        let seen = *receiver.borrow_and_update();
        Listener { receiver, seen }
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// Waits for the next signal; several at once are one. Safe to drop.
    pub async fn next(&mut self) -> Hint {
        if self.receiver.changed().await.is_err() {
            // The store is gone, and so is everything that could signal.
            std::future::pending::<()>().await;
        }
        let count = *self.receiver.borrow_and_update();
        let woken = count.wakes != self.seen.wakes;
        self.seen = count;
        if woken { Hint::Wake } else { Hint::Enqueued }
    }
}
