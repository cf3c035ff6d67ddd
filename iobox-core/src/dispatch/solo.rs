//! Solo: a message that runs with nothing else in flight.
//!
//! Two kinds of message run alone: one that was marked as a suspect by a process that died, so that
//! the next death is its doing and nobody else's; and one with an unknown outcome that nobody could
//! tell apart from a failing broker, so that probes before and after show whose fault it is.

use std::ops::Bound;

use super::{Command, Machine, RunId, Time, held::Stage, work::Work};
use crate::{
    Result,
    partition::Partition,
    publisher::Durability,
    store::{Pending, Seq, Verdict},
};

/// The step of a message that runs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Waits for a probe to succeed before it runs.
    ProbeBefore,
    /// Waits for its mark to be recorded.
    Mark,
    /// Goes next.
    Go,
    /// Runs.
    Run(RunId),
    /// Waits for a probe to say whether the broker or the message is at fault.
    ProbeAfter,
}

/// The message that runs alone.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Solo {
    pub(super) partition: Partition,
    pub(super) seq: Seq,
    step: Step,
    /// Whether a probe was sent for this step.
    asked: bool,
    /// Whether a probe succeeded before it ran.
    probed: bool,
    started: Time,
    /// Why its outcome is unknown.
    reason: String,
}

impl Solo {
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.step, Step::Run(_) | Step::ProbeAfter | Step::Mark)
    }
}

impl Machine {
    /// Whether a message that must run alone has its turn. Between two of them others run for as
    /// long as the last one took.
    pub(super) fn wants_solo(&self, now: Time) -> bool {
        self.solo_at <= now && self.next_solo().is_some()
    }

    /// The one after the last that ran alone, in a circle: one that comes back at once must not keep
    /// the others from their turn.
    fn next_solo(&self) -> Option<(Partition, Seq)> {
        let (last, seq) = self.solo_last;
        let first = |(partition, work): (Partition, &Work)| {
            let seq = work.handover.is_none().then(|| work.solos.first())??;
            Some((partition, *seq))
        };
        let same = || {
            let work = self.works.get(&last).filter(|w| w.handover.is_none())?;
            let seq = work.solos.range((Bound::Excluded(seq), Bound::Unbounded));
            seq.map(|seq| (last, *seq)).next()
        };
        same().or_else(|| self.circle(last).find_map(first))
    }

    /// Takes the next step of the message that runs alone, once nothing else is in flight.
    pub(super) fn advance_solo(&mut self, now: Time) -> Option<Command> {
        if self.solo.is_none() {
            let busy = self.works.values().any(|work| work.busy > 0);
            if busy || !self.flights.is_empty() {
                return None;
            }
            let (partition, seq) = self.next_solo()?;
            let held = self.works.get(&partition)?.rows.get(&seq)?;
            let step = if held.alone {
                Step::ProbeBefore
            } else {
                Step::Mark
            };
            self.solo_last = (partition, seq);
            self.solo = Some(Solo {
                partition,
                seq,
                step,
                asked: false,
                probed: false,
                started: now,
                reason: String::new(),
            });
            if step == Step::Mark {
                self.mark_solo(now);
            }
        }
        let solo = self.solo.as_mut()?;
        if solo.step != Step::Go {
            return None;
        }
        let (partition, seq) = (solo.partition, solo.seq);
        self.sent.next();
        let Some(started) = self.start(partition, seq, now) else {
            self.solo = None;
            return None;
        };
        if let Some(solo) = &mut self.solo {
            solo.step = Step::Run(started.0);
        }
        Some(Command::Execute(vec![started]))
    }

    /// Marks the message that is about to run alone if it is a suspect, or the first time that its
    /// partition is worked after an owner died; another message goes at once.
    fn mark_solo(&mut self, now: Time) {
        let Some(solo) = &mut self.solo else { return };
        let (partition, seq) = (solo.partition, solo.seq);
        let crash = self.works.get(&partition).and_then(|work| {
            let held = work.rows.get(&seq)?;
            match (held.suspect, held.marked) {
                (_, true) => None,
                (true, false) => Some(1),
                (false, false) => (work.cautious > 0).then_some(0),
            }
        });
        let Some(crash) = crash else {
            solo.step = Step::Go;
            return;
        };
        solo.step = Step::Mark;
        if let Some(work) = self.works.get_mut(&partition) {
            work.solos.remove(&seq);
        }
        self.mark(partition, seq, crash, now);
    }

    /// The mark of a row was recorded.
    pub(super) fn solo_marked(&mut self, partition: Partition, seq: Seq) {
        if let Some(solo) = &mut self.solo
            && (solo.partition, solo.seq) == (partition, seq)
            && solo.step == Step::Mark
        {
            solo.step = Step::Go;
        }
    }

    /// The verdict on a fetched message that runs alone when as many wait for that as one outage
    /// makes. They are slow, and more of them would leave no room in memory for anybody else.
    pub(super) fn put_back(&mut self, pending: &Pending) -> Option<Verdict> {
        let waiting: usize = self.works.values().map(|work| work.solos.len()).sum();
        let many = waiting >= self.settings.max_in_flight;
        (many && pending.alone && !pending.suspect).then(|| Verdict::Unknown {
            after: self
                .settings
                .retry
                .cap
                .mul_f64(1.0 - self.random.f64() / 2.0),
            reason: "its last outcome is unknown, and many such messages wait to run alone".into(),
            alone: true,
        })
    }

    /// Whether a message that was started to run alone is in flight, although its partition may be lost:
    /// until it ends it has no company, whatever is granted meanwhile.
    pub(super) fn runs_alone(&self) -> bool {
        let one = self.flights.values().next();
        one.is_some_and(|one| one.alone)
    }

    /// Whether `run` is the message that has its turn to run alone.
    pub(super) fn is_solo(&self, run: RunId) -> bool {
        self.solo
            .as_ref()
            .is_some_and(|solo| solo.step == Step::Run(run))
    }

    /// The outcome of the message that ran alone is unknown: hold it until a probe has answered.
    pub(super) fn judge_solo(&mut self, reason: String) {
        if let Some(solo) = &mut self.solo {
            solo.step = Step::ProbeAfter;
            solo.reason = reason;
            if let Some(held) = self
                .works
                .get_mut(&solo.partition)
                .and_then(|work| work.rows.get_mut(&solo.seq))
            {
                held.stage = Stage::Judging;
            }
        }
    }

    /// The message that ran alone has its outcome.
    pub(super) fn end_solo(&mut self, now: Time) {
        if let Some(solo) = self.solo.take() {
            self.solo_at = now + (now - solo.started);
        }
    }

    /// Drops the solo if it is about this row, which is gone.
    pub(super) fn cancel_solo(&mut self, partition: Partition, seq: Seq) {
        if self
            .solo
            .as_ref()
            .is_some_and(|solo| (solo.partition, solo.seq) == (partition, seq))
        {
            self.solo = None;
        }
    }

    /// When to probe: while the breaker is open, and for a message that runs alone.
    pub(super) fn probe_at(&self) -> Option<Time> {
        if self.breaker.probing {
            return None;
        }
        let solo = self
            .solo
            .as_ref()
            .is_some_and(|solo| matches!(solo.step, Step::ProbeBefore | Step::ProbeAfter));
        if solo && !self.breaker.is_open() {
            return Some(Time::default());
        }
        self.breaker.probe_due()
    }

    pub(super) const fn probe(&mut self) -> Command {
        self.breaker.probing = true;
        if let Some(solo) = &mut self.solo {
            solo.asked = matches!(solo.step, Step::ProbeBefore | Step::ProbeAfter);
        }
        Command::Probe
    }

    /// Takes the answer to [`Command::Probe`].
    pub fn probed(&mut self, reply: &Result<Durability>, now: Time) {
        let ok = reply.is_ok();
        // A probe that was sent before says nothing about this step.
        let step = self.solo.as_mut().filter(|solo| solo.asked).map(|solo| {
            solo.asked = false;
            solo.probed |= ok && solo.step == Step::ProbeBefore;
            solo.step
        });
        if !ok && !self.breaker.is_open() {
            self.open_breaker(now);
        }
        if self.breaker.probed(ok, now) {
            self.breaker_closed(now);
        }
        match step {
            Some(Step::ProbeBefore) if ok => self.mark_solo(now),
            Some(Step::ProbeBefore) => self.solo = None,
            Some(Step::ProbeAfter) => {
                let Some(solo) = &mut self.solo else { return };
                let (partition, seq) = (solo.partition, solo.seq);
                let reason = std::mem::take(&mut solo.reason);
                let counted = ok && solo.probed;
                self.end_solo(now);
                self.unknown(partition, seq, reason, counted, true, now);
            }
            _ => {}
        }
    }
}
