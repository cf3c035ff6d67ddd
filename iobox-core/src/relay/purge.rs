//! Purging: removes old messages while a relay or an inbox runs.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep_until};

use crate::{driver::Turn, queue::Queue, store::Admin};

/// How often to look for old messages.
const EVERY: Duration = Duration::from_secs(30);
/// The pause between two calls while there are more.
const BETWEEN: Duration = Duration::from_millis(50);
/// The most messages of one call.
const LIMIT: u32 = 5_000;

/// Removes old messages for ever, on the one instance that owns the first partition.
pub(crate) async fn purge(
    admin: Arc<dyn Admin>,
    queue: Queue,
    retention: Duration,
    turns: watch::Receiver<Turn>,
) {
    loop {
        let (turned, owns_first) = {
            let turn = turns.borrow();
            (turn.at, turn.first.is_some())
        };
        let mut pause = EVERY;
        if owns_first {
            match admin.purge(&queue, retention, LIMIT).await {
                Ok(0) => {}
                Ok(removed) => {
                    metrics::counter!("iobox_purged_total", "queue" => queue.name().to_owned())
                        .increment(removed);
                    if removed >= u64::from(LIMIT) {
                        pause = BETWEEN;
                    }
                }
                Err(error) => tracing::warn!(%error, "old messages could not be removed"),
            }
        }
        sleep_until(turned + turned.elapsed() + pause).await;
    }
}
