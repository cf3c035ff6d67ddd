//! The health of a relay, for a liveness probe.

use std::time::Duration;

use tokio::sync::watch;

use crate::{dispatch::BreakerState, driver::Turn};

/// A view of a running relay. Clones see the same relay.
#[derive(Debug, Clone)]
pub struct Health {
    turns: watch::Receiver<Turn>,
    patience: Duration,
}

/// What a relay looked like at its last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// How long ago its loop last turned. It turns at least as often as it renews its lease.
    pub last_turn: Duration,
    /// How many partitions it owns.
    pub partitions: usize,
    /// How many messages are sent and not answered.
    pub in_flight: usize,
    /// How many messages are in memory.
    pub buffered_messages: usize,
    /// Their bytes.
    pub buffered_bytes: usize,
    /// Whether messages are sent.
    pub breaker: BreakerState,
    /// Whether it has ended, or was never run.
    pub stopped: bool,
}

impl Health {
    pub(super) const fn new(turns: watch::Receiver<Turn>, patience: Duration) -> Self {
        Self { turns, patience }
    }

    /// Whether its loop turns: restart the process when it does not. A broker or a database that is
    /// down is no reason to.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let report = self.report();
        !report.stopped && report.last_turn <= self.patience
    }

    /// What it looked like at its last turn.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        let turn = self.turns.borrow();
        HealthReport {
            last_turn: turn.at.elapsed(),
            partitions: turn.partitions,
            in_flight: turn.in_flight,
            buffered_messages: turn.buffered_rows,
            buffered_bytes: turn.buffered_bytes,
            breaker: turn.breaker,
            stopped: turn.drained || self.turns.has_changed().is_err(),
        }
    }

    /// Waits until `condition` holds of its state at a turn, or the relay has ended. Returns
    /// whether it holds. Safe to drop.
    pub async fn wait_until(&mut self, mut condition: impl FnMut(&HealthReport) -> bool) -> bool {
        loop {
            if condition(&self.report()) {
                return true;
            }
            if self.turns.changed().await.is_err() {
                return condition(&self.report());
            }
        }
    }
}
