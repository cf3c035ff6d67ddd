//! Judging: from the outcome of an execution to its verdict.

use std::time::Duration;

use super::{
    Bug, DeadLetterPolicy, Event, Machine, Outcome, RunId, Time,
    held::{Held, Stage},
};
use crate::{
    partition::Partition,
    store::{Change, Seq, Settlement, Verdict},
};

/// How often a message may be unavailable while others go through, before it gives its place in
/// memory to others.
const REFUSALS_MAX: u32 = 3;
/// The longest reason that is recorded, in bytes.
const REASON_MAX: usize = 1_000;

impl Machine {
    /// Takes the outcome of one execution. An outcome that comes twice, or for a partition that was
    /// lost, is ignored.
    pub fn outcome(&mut self, run: RunId, outcome: Outcome, now: Time) {
        let Some(flight) = self.flights.remove(&run) else {
            return;
        };
        let solo = self.is_solo(run);
        let overtaken = self.watch_broker(&outcome, flight.batch, solo, now);
        let (partition, seq) = (flight.partition, flight.seq);
        let current = self
            .works
            .get_mut(&partition)
            .filter(|work| work.epoch == flight.epoch);
        let running = current.and_then(|work| {
            let held = work.rows.get(&seq)?;
            matches!(held.stage, Stage::Running { run: r, .. } if r == run).then_some(work)
        });
        let Some(work) = running else {
            if solo {
                self.end_solo(now);
            }
            return;
        };
        work.busy -= 1;
        let judged = matches!(outcome, Outcome::Unknown { .. }) && !self.has(Bug::TimeoutIsFailure);
        if solo && !judged {
            self.end_solo(now);
        }
        match outcome {
            Outcome::Ok { duplicate } => self.succeeded(partition, seq, duplicate, now),
            Outcome::Settled => self.settled_itself(partition, seq, now),
            Outcome::Transient { reason, after } => self.failed(partition, seq, reason, after, now),
            Outcome::Permanent { reason } => {
                let attempt = self.attempts_after(partition, seq);
                self.bury(partition, seq, attempt, reason, false, now);
            }
            Outcome::Unavailable { reason } => self.refused(partition, seq, reason, now),
            Outcome::Unknown { reason } if self.has(Bug::TimeoutIsSuccess) => {
                drop(reason);
                self.succeeded(partition, seq, false, now);
            }
            Outcome::Unknown { reason } if self.has(Bug::TimeoutIsFailure) => {
                self.failed(partition, seq, reason, None, now);
            }
            Outcome::Unknown { reason } if solo => {
                if let Some(work) = self.works.get_mut(&partition) {
                    work.busy += 1;
                }
                self.judge_solo(reason);
            }
            Outcome::Unknown { reason } => {
                self.unknown(partition, seq, reason, overtaken, false, now);
            }
        }
        if self
            .works
            .get(&partition)
            .is_some_and(|work| work.handover.is_some())
        {
            self.drop_idle_rows(partition, now);
        }
    }

    /// Keeps the breaker. Returns whether the broker answered something that was sent after this one.
    fn watch_broker(&mut self, outcome: &Outcome, batch: u64, solo: bool, now: Time) -> bool {
        let mut answered = false;
        match outcome {
            Outcome::Ok { .. }
            | Outcome::Settled
            | Outcome::Transient { .. }
            | Outcome::Permanent { .. } => {
                answered = true;
                self.breaker.answered();
            }
            Outcome::Unavailable { reason } => {
                self.event(Event::Unavailable {
                    reason: reason.clone(),
                });
                if self.breaker.failed(now) {
                    self.event(Event::BreakerOpened);
                }
            }
            // Probes around it tell whose fault it is.
            Outcome::Unknown { .. } if solo => {}
            Outcome::Unknown { .. } => {
                if self.breaker.failed(now) {
                    self.event(Event::BreakerOpened);
                }
            }
        }
        self.sent.end(batch, answered, now)
    }

    pub(super) fn open_breaker(&mut self, now: Time) {
        self.breaker.open(now);
        self.event(Event::BreakerOpened);
    }

    pub(super) fn breaker_closed(&mut self, now: Time) {
        self.event(Event::BreakerClosed);
        if self.member.away && self.releasing.is_none() && self.drain.is_none() {
            self.member.away = false;
            self.member.next_renew = now;
        }
        for work in self.works.values_mut() {
            work.next_poll = work.next_poll.min(now);
        }
    }

    fn held(&self, partition: Partition, seq: Seq) -> Option<&Held> {
        self.works
            .get(&partition)?
            .rows
            .get(&seq)
            .map(AsRef::as_ref)
    }

    /// The attempts after the one that just ended.
    fn attempts_after(&self, partition: Partition, seq: Seq) -> u32 {
        self.held(partition, seq).map_or(0, |held| {
            if self.has(Bug::AttemptsNotCounted) {
                return 0;
            }
            held.attempt + 1 - held.counted_ahead
        })
    }

    /// The settlement that records the success of an execution under way, for an executor that does
    /// so in the transaction of the effects; `None` when the partition was lost.
    #[must_use]
    pub fn success_of(&self, run: RunId) -> Option<Settlement> {
        let flight = self.flights.get(&run)?;
        let (partition, seq) = (flight.partition, flight.seq);
        let work = self.works.get(&partition)?;
        let held = work.rows.get(&seq)?;
        (work.epoch == flight.epoch).then(|| Settlement {
            partition,
            epoch: flight.epoch,
            seq,
            revision: held.revision,
            attempt: self.attempts_after(partition, seq),
            change: Change::Verdict(Verdict::Done { duplicate: false }),
        })
    }

    /// The message is done, in the store too.
    fn settled_itself(&mut self, partition: Partition, seq: Seq, now: Time) {
        self.note_success(partition, seq, false, now);
        let verdict = Verdict::Done { duplicate: false };
        let attempt = self.attempts_after(partition, seq);
        if let Some(work) = self.works.get_mut(&partition)
            && let Some(held) = work.rows.get_mut(&seq)
        {
            held.stage = Stage::Settling;
            held.change = Some((attempt, Change::Verdict(verdict)));
            self.applied(partition, seq, now);
        }
    }

    fn succeeded(&mut self, partition: Partition, seq: Seq, duplicate: bool, now: Time) {
        let attempt = self.attempts_after(partition, seq);
        self.note_success(partition, seq, duplicate, now);
        self.record(partition, seq, attempt, Verdict::Done { duplicate }, now);
    }

    fn note_success(&mut self, partition: Partition, seq: Seq, duplicate: bool, now: Time) {
        let attempt = self.attempts_after(partition, seq);
        if let Some(held) = self.held(partition, seq) {
            let latency = held.age_at_fetch + (now - held.fetched_at);
            self.event(Event::Executed {
                duplicate,
                latency,
                attempt,
            });
        }
    }

    fn failed(
        &mut self,
        partition: Partition,
        seq: Seq,
        reason: String,
        after: Option<Duration>,
        now: Time,
    ) {
        let attempt = self.attempts_after(partition, seq);
        if attempt >= self.settings.retry.max_attempts() {
            let reason = format!("gave up after {attempt} attempts: {reason}");
            self.bury(partition, seq, attempt, reason, false, now);
            return;
        }
        let after = after.map_or_else(
            || self.settings.retry.delay(attempt, &mut self.random),
            |after| after.min(self.settings.retry.cap),
        );
        let reason = tidy(reason);
        self.event(Event::Retrying {
            partition,
            seq,
            attempt,
            reason: reason.clone(),
        });
        self.retry(partition, seq, (attempt, after, reason), now);
    }

    /// Puts the message back for later. One that its owner before may have executed stays uncertain:
    /// this attempt failed, but nobody knows about the one of the owner that died.
    fn retry(
        &mut self,
        partition: Partition,
        seq: Seq,
        (attempt, after, reason): (u32, Duration, String),
        now: Time,
    ) {
        let doubtful = self.held(partition, seq).is_some_and(|held| held.doubtful);
        let verdict = if doubtful {
            Verdict::Unknown {
                after,
                reason,
                alone: false,
            }
        } else {
            Verdict::Retry { after, reason }
        };
        self.record(partition, seq, attempt, verdict, now);
    }

    /// The message is dead.
    pub(super) fn bury(
        &mut self,
        partition: Partition,
        seq: Seq,
        attempt: u32,
        reason: String,
        must_halt: bool,
        now: Time,
    ) {
        let uncertain = self
            .held(partition, seq)
            .is_some_and(|held| held.uncertain || held.doubtful);
        let halts = must_halt || uncertain || self.settings.policy == DeadLetterPolicy::HaltKey;
        let reason = tidy(reason);
        self.record(
            partition,
            seq,
            attempt,
            Verdict::Dead {
                reason,
                halts,
                uncertain,
            },
            now,
        );
    }

    /// The message was definitely not sent: it waits in memory, no attempt counted. One that is
    /// refused again and again while others go through gives up its place.
    fn refused(&mut self, partition: Partition, seq: Seq, reason: String, now: Time) {
        if self.has(Bug::BreakerBurnsAttempts) {
            self.failed(partition, seq, reason, None, now);
            return;
        }
        let pause = Duration::from_millis(1_000).mul_f64(0.5 + self.random.f64());
        let open = self.breaker.is_open();
        let Some(held) = self
            .works
            .get_mut(&partition)
            .and_then(|work| work.rows.get_mut(&seq))
        else {
            return;
        };
        if !open {
            held.refused += 1;
        }
        if held.refused > REFUSALS_MAX || held.counted_ahead > 0 {
            let attempt = held.attempt - held.counted_ahead;
            self.retry(partition, seq, (attempt, pause, tidy(reason)), now);
            return;
        }
        held.stage = Stage::Paused;
        let until = if open { now } else { now + pause };
        self.paused.insert((until, partition, seq));
    }

    /// Nobody knows whether the message was taken. It is never dead by this alone.
    pub(super) fn unknown(
        &mut self,
        partition: Partition,
        seq: Seq,
        reason: String,
        counted: bool,
        solo: bool,
        now: Time,
    ) {
        let Some(held) = self.held(partition, seq) else {
            return;
        };
        let ahead = held.counted_ahead;
        let attempt = if counted {
            self.attempts_after(partition, seq)
        } else {
            held.attempt - ahead.min(held.attempt)
        };
        if held.stage == Stage::Judging
            && let Some(work) = self.works.get_mut(&partition)
        {
            work.busy -= 1;
        }
        let max = self.settings.retry.max_attempts();
        let alarm = attempt >= max;
        let after = if alarm {
            self.settings.retry.cap
        } else {
            self.settings.retry.delay(attempt.max(1), &mut self.random)
        };
        let reason = tidy(reason);
        self.event(Event::Unknown {
            partition,
            seq,
            attempt,
            counted,
            alarm,
            reason: reason.clone(),
        });
        let verdict = Verdict::Unknown {
            after,
            reason,
            alone: solo || !counted,
        };
        self.record(partition, seq, attempt, verdict, now);
    }

    /// Queues a verdict.
    pub(super) fn record(
        &mut self,
        partition: Partition,
        seq: Seq,
        attempt: u32,
        verdict: Verdict,
        now: Time,
    ) {
        let ungated = self.has(Bug::NoKeyGate) || self.has(Bug::FailedOvertaken);
        if let Some(work) = self.works.get_mut(&partition)
            && let Some(held) = work.rows.get_mut(&seq)
        {
            held.stage = Stage::Settling;
            held.change = Some((attempt, Change::Verdict(verdict)));
            work.runnable.remove(&seq);
            work.solos.remove(&seq);
            work.enqueue(seq, now);
            work.reconsider(seq, ungated);
        }
    }
}

/// Makes a reason fit to be stored: one line of at most 1,000 bytes without control characters.
fn tidy(reason: String) -> String {
    let mut reason = reason;
    reason.truncate(reason.floor_char_boundary(REASON_MAX.min(reason.len())));
    if reason.contains(char::is_control) {
        reason = reason.replace(char::is_control, " ");
    }
    reason
}
