//! Executing: which messages run next.

use super::{Bug, Command, Machine, RunId, Time, held::Stage, work::Work};
use crate::{
    message::Message,
    partition::Partition,
    store::{Change, Epoch, Mark, Seq, Verdict},
};

/// One execution under way.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Flight {
    pub(super) partition: Partition,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    /// The number of the batch that it was sent in.
    pub(super) batch: u64,
    /// Whether it was started to run alone.
    pub(super) alone: bool,
}

impl Machine {
    /// How many more executions may start: bounded by what is in flight, and by what was executed
    /// and is not settled, so that a crash repeats at most `max_in_flight + batch` messages.
    fn slots(&self) -> usize {
        let busy: usize = self.works.values().map(|work| work.busy).sum();
        let busy = busy.max(self.flights.len());
        // Marks and moves to waiting count too: a little less runs while many are under way.
        let queued: usize = self.works.values().map(|work| work.queue.len()).sum();
        let sent: usize = self.settles.values().map(Vec::len).sum();
        let unsettled = queued + sent;
        let in_flight = self.settings.max_in_flight.saturating_sub(busy);
        let at_risk =
            (self.settings.max_in_flight + self.settings.batch).saturating_sub(busy + unsettled);
        in_flight.min(at_risk)
    }

    /// Whether executions may start at all.
    fn may_execute(&self, now: Time) -> bool {
        !self.breaker.is_open() && self.may_start(now) && !self.runs_alone()
    }

    /// The next batch of messages to execute, if any may start.
    pub(super) fn execute(&mut self, now: Time) -> Option<Command> {
        if !self.may_execute(now) {
            return None;
        }
        if self.solo.is_some() || self.wants_solo(now) {
            return self.advance_solo(now);
        }
        if self.works.values().all(|work| work.runnable.is_empty()) {
            return None;
        }
        self.sent.next();
        let in_company = self.has(Bug::SuspectsInCompany);
        let mut slots = self.slots().min(self.settings.batch);
        let mut batch = Vec::new();
        // The partition after the one that was served last goes first.
        let ready = |work: &Work| work.handover.is_none() && !work.runnable.is_empty();
        let order: Vec<Partition> = self
            .circle(self.served)
            .filter(|(partition, work)| ready(work) && !self.has_stragglers(*partition))
            .map(|(partition, _)| partition)
            .collect();
        for partition in order {
            if slots > 0 {
                self.served = partition;
            }
            while slots > 0 {
                let Some(work) = self.works.get_mut(&partition) else {
                    break;
                };
                let Some(seq) = work.runnable.pop_first() else {
                    break;
                };
                slots -= 1;
                let held = work.rows.get(&seq);
                let crash = u32::from(in_company && held.is_some_and(|held| held.suspect));
                let caution = (work.cautious > 0 || crash > 0) && held.is_some_and(|h| !h.marked);
                if caution {
                    self.mark(partition, seq, crash, now);
                } else {
                    batch.extend(self.start(partition, seq, now));
                }
            }
        }
        (!batch.is_empty()).then_some(Command::Execute(batch))
    }

    /// When [`execute`](Self::execute) could start something that it cannot start now.
    pub(super) fn execute_at(&self, now: Time) -> Option<Time> {
        let waits_for_solo = self.solo.is_none()
            && self.solo_at > now
            && self.works.values().any(|work| !work.solos.is_empty());
        waits_for_solo.then_some(self.solo_at)
    }

    /// Queues the mark of a suspect; with `crash` 1 the crash and the attempt are recorded ahead.
    pub(super) fn mark(&mut self, partition: Partition, seq: Seq, crash: u32, now: Time) {
        if let Some(work) = self.works.get_mut(&partition)
            && let Some(held) = work.rows.get_mut(&seq)
        {
            let crashes = held.crashes + crash;
            held.counted_ahead = crash;
            held.stage = Stage::Marking;
            held.change = Some((
                held.attempt + crash,
                Change::Mark(Mark::Suspect { crashes }),
            ));
            work.busy += 1;
            // A mark is on the way of an execution: it does not linger.
            work.enqueue(seq, now);
            work.queued_since = Time::default();
        }
    }

    /// Starts one execution.
    pub(super) fn start(
        &mut self,
        partition: Partition,
        seq: Seq,
        now: Time,
    ) -> Option<(RunId, Message)> {
        let run = RunId(self.number());
        let before_ack = self.has(Bug::SettleBeforeAck);
        let ungated = self.has(Bug::NoKeyGate);
        let work = self.works.get_mut(&partition)?;
        let held = work.rows.get_mut(&seq)?;
        if held.stage != Stage::Ready {
            // Taken back while it waited for its turn to run alone.
            return None;
        }
        let message = held.message.clone()?;
        held.stage = Stage::Running { run, since: now };
        let attempt = held.attempt;
        work.busy += 1;
        work.runnable.remove(&seq);
        work.solos.remove(&seq);
        let flight = Flight {
            partition,
            epoch: work.epoch,
            seq,
            batch: self.sent.add(now),
            // While one has its turn to run alone, nothing else is started.
            alone: self.solo.is_some(),
        };
        if ungated {
            work.reconsider(seq, true);
        }
        self.flights.insert(run, flight);
        if before_ack {
            if let Some(work) = self.works.get_mut(&partition) {
                work.busy -= 1;
            }
            let verdict = Verdict::Done { duplicate: false };
            self.record(partition, seq, attempt + 1, verdict, now);
        }
        Some((run, message))
    }
}
