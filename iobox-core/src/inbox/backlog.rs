//! The backlog: how much the handlers of this program have to do before more is read.

use super::feed::Reading;
use crate::{
    Result,
    driver::clock,
    store::{Ingest, Subscribe},
};
use std::time::Duration;
use tokio::time::sleep_until;

/// The pause between two looks while a handler is behind.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts what the handler that is furthest behind has to do. What is read adds to the count, so that
/// the store is asked only when the bound may be near.
pub(super) struct Backlog<'a, S> {
    reading: &'a Reading<S>,
    /// At most so many, as far as is known.
    rows: Option<u32>,
}

impl<'a, S: Ingest> Backlog<'a, S> {
    pub(super) const fn new(reading: &'a Reading<S>) -> Self {
        Self {
            reading,
            rows: None,
        }
    }

    /// Waits until something may be read, and returns how many messages. Safe to drop.
    pub(super) async fn room(&mut self) -> usize {
        let most = self.reading.max_backlog;
        let wanted = self.reading.settings.batch;
        let mut behind = false;
        loop {
            let free = self.rows.map_or(0, |rows| most.saturating_sub(rows));
            let free = usize::try_from(free).unwrap_or(usize::MAX);
            if free >= wanted {
                return wanted;
            }
            match self.reading.ask("backlog", self.count()).await {
                Ok(rows) => self.rows = Some(rows),
                Err(error) => {
                    tracing::warn!(%error, "what handlers have to do cannot be counted; nothing is read");
                    self.rows = None;
                }
            }
            let free = self.rows.map_or(0, |rows| most.saturating_sub(rows));
            if free > 0 {
                return wanted.min(usize::try_from(free).unwrap_or(usize::MAX));
            }
            if !behind {
                behind = true;
                tracing::info!(most, "a handler is behind; nothing is read until it is not");
            }
            sleep_until(clock() + PAUSE).await;
        }
    }

    /// Notes that this many messages were stored.
    pub(super) fn add(&mut self, messages: usize) {
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        self.rows = self.rows.map(|rows| rows.saturating_add(messages));
    }

    async fn count(&self) -> Result<u32> {
        let limit = self.reading.max_backlog;
        let mut most = 0;
        for handler in &self.reading.handlers {
            let queue = Subscribe::queue_of(&self.reading.store, handler).await?;
            most = most.max(queue.backlog(limit).await?);
        }
        Ok(u32::try_from(most).unwrap_or(u32::MAX))
    }
}
