//! Standing still: what SIGSTOP does to a process.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::watch;

/// Whether a process stands still.
#[derive(Debug, Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns at once when the process runs, else when it goes on.
    pub(crate) async fn passed(&self) {
        // An ended sender means that nobody stops the process any more.
        let _ = self.0.clone().wait_for(|stopped| !stopped).await;
    }

    /// A future that makes no progress while the process stands still.
    pub(crate) fn guard<F>(&self, future: F) -> Guard<F> {
        let stopped = self.clone();
        Guard {
            gate: None,
            stopped,
            future: Box::pin(future),
        }
    }
}

type Passing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`Stopped::guard`].
pub(crate) struct Guard<F> {
    gate: Option<Passing>,
    stopped: Stopped,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Guard<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let gate = this.gate.get_or_insert_with(|| {
            let stopped = this.stopped.clone();
            Box::pin(async move { stopped.passed().await })
        });
        if gate.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.gate = None;
        this.future.as_mut().poll(cx)
    }
}
