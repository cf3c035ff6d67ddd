//! What runs as a task of its own until it is told to stop.

use std::{future::Future, panic::resume_unwind};

use tokio::{sync::watch, task::JoinHandle};

use crate::{Error, Result};

/// A task that drains when it is told to stop, or when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    what: &'static str,
    task: JoinHandle<Result<()>>,
    stop: watch::Sender<bool>,
}

/// Completes when whoever runs a task wants its end.
#[derive(Debug, Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Running {
    /// Spawns what `run` makes on the current runtime; `what` names it in errors.
    ///
    /// An error that ends it is logged too, since nobody may wait for it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn spawn<F>(what: &'static str, run: impl FnOnce(Stopped) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = Stopped::new();
        let run = run(stopped);
        let task = tokio::spawn(async move {
            let ended = run.await;
            if let Err(error) = &ended {
                tracing::error!(%error, "the {what} ended");
            }
            ended
        });
        Self { what, task, stop }
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the end; a panic of the task goes on here.
    pub(crate) async fn join(&mut self) -> Result<()> {
        match (&mut self.task).await {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Error::unavailable(format!(
                    "the runtime was shut down before the {} had drained",
                    self.what
                ))),
            },
        }
    }
}

impl Stopped {
    /// What tells to stop, by `true` or by being dropped, and what hears it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (stop, stopped) = watch::channel(false);
        (stop, Self(stopped))
    }

    /// Waits for the order to stop.
    pub(crate) async fn wait(mut self) {
        // An error says that nobody can give it any more.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
