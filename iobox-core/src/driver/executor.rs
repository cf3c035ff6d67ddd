//! The executor: what differs between publishing and handling.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    Result,
    dispatch::{Outcome, RunId},
    message::Message,
    publisher::Durability,
    store::Settlement,
};

/// Where outcomes go. It has room for every execution that can be in flight.
#[derive(Debug, Clone)]
pub(crate) struct Reports(mpsc::Sender<(RunId, Outcome)>);

impl Reports {
    pub(super) fn bounded(capacity: usize) -> (Self, mpsc::Receiver<(RunId, Outcome)>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Reports the outcome of one execution.
    pub(crate) fn report(&self, run: RunId, outcome: Outcome) {
        // The machine keeps at most as many executions in flight as the channel holds, and a closed
        // channel means that nobody wants to know any more.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.0.try_send((run, outcome)) {
            tracing::error!("the channel of outcomes is full: this is a defect of iobox");
        }
    }
}

/// One execution to make.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) run: RunId,
    pub(crate) message: Message,
    /// The settlement of its success, for executors that [record](Executor::RECORDS) it; `None` also
    /// when the partition was lost.
    pub(crate) success: Option<Settlement>,
}

/// Executes messages: publishes them, or runs a handler on them.
#[async_trait]
pub(crate) trait Executor: Send + Sync + fmt::Debug + 'static {
    /// Whether it may record successes itself, and needs to know how.
    const RECORDS: bool;

    /// Executes a batch and reports each outcome exactly once, whatever happens.
    async fn execute(self: Arc<Self>, batch: Vec<Execution>, reports: Reports);

    /// Asks the other side whether it is there.
    async fn probe(&self) -> Result<Durability>;
}
