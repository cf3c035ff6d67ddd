//! Draining: finish what is in flight, take nothing new, release everything.

use std::time::Duration;

use super::{Machine, Time};
use crate::{partition::Partition, store::Seq};

/// How long the last release may take after the grace time.
const LAST_CALL: Duration = Duration::from_millis(500);

/// A drain under way.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Drain {
    /// When to stop waiting for what is in flight.
    pub(super) deadline: Time,
    /// Whether the instance has left its queue.
    pub(super) left: bool,
}

impl Machine {
    /// Starts the drain: nothing new is fetched or executed from now on. What is in flight has the
    /// grace time to end and be settled; then the partitions are released. No attempt is counted for
    /// what did not run.
    pub fn drain(&mut self, now: Time) {
        if self.drain.is_some() {
            return;
        }
        let gone = self.member.away && self.releasing.is_none();
        self.drain = Some(Drain {
            deadline: now + self.settings.grace,
            left: gone,
        });
        let partitions: Vec<_> = self.works.keys().copied().collect();
        for partition in partitions {
            self.start_handover(partition, now);
        }
    }

    /// Whether the drain is over: nothing is in flight and everything is released, or the grace time and
    /// half a second more have passed.
    #[must_use]
    pub fn is_drained(&self, now: Time) -> bool {
        self.drain_end().is_some_and(|end| now >= end)
    }

    /// When [`is_drained`](Self::is_drained) changes by itself.
    pub(super) fn drain_at(&self) -> Option<Time> {
        self.drain_end().filter(|end| *end > Time::default())
    }

    /// When the drain is over at the latest.
    fn drain_end(&self) -> Option<Time> {
        let drain = self.drain.as_ref()?;
        Some(match (drain.left, self.flights.is_empty()) {
            (true, true) => Time::default(),
            // It left, since it was gone: what is in flight has its time all the same.
            (true, false) => drain.deadline,
            (false, _) => drain.deadline + LAST_CALL,
        })
    }

    /// Drops the rows of a partition that nothing is being done with. Marks are taken back, since
    /// those rows were not executed.
    pub(super) fn drop_idle_rows(&mut self, partition: Partition, now: Time) {
        if self
            .solo
            .as_ref()
            .is_some_and(|solo| solo.partition == partition && !solo.is_running())
        {
            self.solo = None;
        }
        let Some(work) = self.works.get_mut(&partition) else {
            return;
        };
        let rows: Vec<Seq> = work.rows.keys().copied().collect();
        for seq in rows {
            work.let_go(seq, now);
        }
        self.paused.retain(|(_, other, _)| *other != partition);
    }
}
