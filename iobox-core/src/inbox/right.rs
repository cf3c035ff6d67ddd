//! The right to read a source: the one partition of its queue, held by the machine that holds those
//! of handlers and of the outbox.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Result,
    dispatch::Settings,
    driver::{Driver, Execution, Executor, Reports, Turn},
    message::IdSource,
    publisher::Durability,
    running::Stopped,
    store::{Epoch, Store},
};

/// Strives for the right to read, and shows when it has it. Dropping it leaves the right to whoever
/// takes it after the time-to-live.
#[derive(Debug)]
pub(super) struct Right {
    turns: watch::Receiver<Turn>,
    stop: watch::Sender<bool>,
    driver: JoinSet<()>,
}

impl Right {
    /// Starts to strive for it.
    pub(super) fn seek(settings: Settings, store: Arc<dyn Store>, ids: Arc<dyn IdSource>) -> Self {
        let turns = watch::Sender::new(Turn::first());
        let seen = turns.subscribe();
        let (stop, stopped) = Stopped::new();
        let driver = Driver::new(settings, store, Arc::new(Nothing), ids, turns);
        let mut task = JoinSet::new();
        task.spawn(driver.run(stopped.wait()));
        Self {
            turns: seen,
            stop,
            driver: task,
        }
    }

    /// Waits until it is held under another epoch than `last`. Safe to drop.
    pub(super) async fn held(&mut self, last: Option<Epoch>) -> Epoch {
        loop {
            let first = self.turns.borrow_and_update().first;
            if let Some(epoch) = first.filter(|epoch| Some(*epoch) != last) {
                return epoch;
            }
            if self.turns.changed().await.is_err() {
                // Nobody strives any more: the runtime ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is not held under `epoch` any more. Safe to drop.
    pub(super) async fn gone(&self, epoch: Epoch) {
        let mut turns = self.turns.clone();
        // An error says that nobody holds anything any more.
        let _ = turns.wait_for(|turn| turn.first != Some(epoch)).await;
    }

    /// Gives it back, within the grace time.
    pub(super) async fn give_back(mut self) {
        self.stop.send_replace(true);
        while self.driver.join_next().await.is_some() {}
    }
}

/// Executes nothing: no row is ever fetched from such a queue.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Executor for Nothing {
    const RECORDS: bool = false;

    async fn execute(self: Arc<Self>, batch: Vec<Execution>, _: Reports) {
        tracing::error!(
            count = batch.len(),
            "a right to read has messages: this is a defect of iobox"
        );
    }

    async fn probe(&self) -> Result<Durability> {
        Ok(Durability::Volatile)
    }
}
