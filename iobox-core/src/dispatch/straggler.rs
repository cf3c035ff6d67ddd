//! Stragglers: executions of an earlier grant that are still under way when their partition is
//! granted again.

use super::{Machine, Time};
use crate::partition::Partition;

impl Machine {
    /// A partition was granted: what was started under an earlier grant must end before any of its
    /// messages runs, or one message of a key would be in flight twice. An execution that does not
    /// end is waited for no longer than a hand-over does.
    pub(super) fn await_stragglers(&mut self, partition: Partition, now: Time) {
        if self.flights.values().any(|one| one.partition == partition) {
            let longest = self.settings.execute_timeout + self.settings.settle_timeout;
            self.stragglers
                .insert(partition, now + longest + self.settings.grace);
        }
    }

    /// Whether executions of an earlier grant of this partition are waited for.
    pub(super) fn has_stragglers(&self, partition: Partition) -> bool {
        self.stragglers.contains_key(&partition)
    }

    /// Forgets partitions whose stragglers have ended, or were waited for long enough.
    pub(super) fn expire_stragglers(&mut self, now: Time) {
        if self.stragglers.is_empty() {
            return;
        }
        self.stragglers.retain(|partition, until| {
            let epoch = self.works.get(partition).map(|work| work.epoch);
            let mut flights = self.flights.values();
            *until > now
                && epoch.is_some_and(|epoch| {
                    flights.any(|one| one.partition == *partition && one.epoch != epoch)
                })
        });
    }

    /// When [`expire_stragglers`](Self::expire_stragglers) has something to do by itself.
    pub(super) fn stragglers_at(&self) -> Option<Time> {
        self.stragglers.values().min().copied()
    }
}
