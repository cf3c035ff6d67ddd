//! Settling: batches of settlements, and what their replies mean.

use std::collections::BTreeSet;

use super::{
    Bug, CallId, Command, Event, Failure, Machine, Time, held::Stage, key::Key, work::pause_after,
};
use crate::{
    Result,
    partition::Partition,
    store::{Change, Epoch, Mark, Seq, Settled, Settlement, Verdict},
};

/// How many times longer outcomes linger while a settle is under way.
const BESIDE: u32 = 10;

/// A settle under way: what it is about, in order.
pub(super) type SettleCall = Vec<(Partition, Epoch, Seq)>;

impl Machine {
    /// The most settles under way: a fetch that clears has the place of one of several.
    fn settles_max(&self) -> usize {
        let clears = self.fetches.values().any(|ask| ask.0 == 0);
        let settles = self.settings.settles.saturating_sub(usize::from(clears));
        settles.max(1)
    }

    /// When the next settle is due.
    pub(super) fn settle_at(&self, now: Time) -> Option<Time> {
        // The next reply makes room; until then more rows gather.
        if self.settles.len() >= self.settles_max() {
            return None;
        }
        // Beside another one goes a whole batch, or what the other keeps waiting for long: its reply
        // makes room for all that gathers meanwhile, and a few large calls cost less than many small ones.
        let (linger, enough) = if self.settles.is_empty() {
            let part = self.settings.batch.div_ceil(self.settings.settles.max(1));
            (self.settings.settle_linger, part)
        } else {
            (self.settings.settle_linger * BESIDE, self.settings.batch)
        };
        let waiting = self
            .works
            .values()
            .filter(|work| work.settling.is_none() && !work.queue.is_empty());
        let mut count = 0;
        let mut first: Option<Time> = None;
        let mut backoff: Option<Time> = None;
        for work in waiting {
            if work.settle_at > now {
                backoff = Some(backoff.map_or(work.settle_at, |at| at.min(work.settle_at)));
                continue;
            }
            count += work.queue.len();
            let at = work.queued_since + linger;
            first = Some(first.map_or(at, |other| other.min(at)));
        }
        // Nobody else will join, since nothing is in flight; or there is enough for a call.
        let at_once = self.flights.is_empty() || count >= enough;
        let due = first.map(|at| if at_once { Time::default() } else { at });
        [due, backoff].into_iter().flatten().min()
    }

    pub(super) fn settle(&mut self, now: Time) -> Command {
        let call = CallId(self.number());
        let mut about = SettleCall::new();
        let mut settlements = Vec::new();
        for partition in self.ready_to_settle(now) {
            let Some(work) = self.works.get_mut(&partition) else {
                continue;
            };
            if settlements.len() >= self.settings.batch {
                break;
            }
            self.settled_last = partition;
            work.settling = Some(call);
            while settlements.len() < self.settings.batch
                && let Some(seq) = work.queue.pop_front()
            {
                let Some(held) = work.rows.get(&seq) else {
                    continue;
                };
                let Some((attempt, change)) = held.change.clone() else {
                    continue;
                };
                about.push((partition, work.epoch, seq));
                settlements.push(Settlement {
                    partition,
                    epoch: work.epoch,
                    seq,
                    revision: held.revision,
                    attempt,
                    change,
                });
            }
        }
        self.settles.insert(call, about);
        Command::Settle(call, settlements)
    }

    /// The partitions of the next settle, beginning behind the one that was the last in one, so that each
    /// has its turn. One whose settle failed goes alone when it comes to it, and the others before it go
    /// without it: what holds it up, as a row that somebody locked does, holds up no settle of theirs.
    fn ready_to_settle(&self, now: Time) -> Vec<Partition> {
        let mut ready: Vec<(Partition, bool)> = self
            .circle(self.settled_last)
            .filter(|(_, work)| {
                work.settling.is_none() && work.settle_at <= now && !work.queue.is_empty()
            })
            .map(|(partition, work)| (partition, work.settle_failures > 0))
            .collect();
        let before = ready.iter().take_while(|(_, failed)| !failed).count();
        ready.truncate(before.max(1));
        ready.into_iter().map(|(partition, _)| partition).collect()
    }

    /// Takes the answer to [`Command::Settle`].
    pub fn settled(&mut self, call: CallId, reply: Result<Vec<Settled>>, now: Time) {
        let Some(about) = self.settles.remove(&call) else {
            return;
        };
        for work in self.works.values_mut() {
            if work.settling == Some(call) {
                work.settling = None;
            }
        }
        let results = match reply {
            Ok(results) if results.len() == about.len() => results,
            Ok(results) => {
                let reason = format!(
                    "the store answered {} of {} settlements",
                    results.len(),
                    about.len()
                );
                self.settle_failed(&about, reason, now);
                return;
            }
            Err(error) => {
                self.settle_failed(&about, error.to_string(), now);
                return;
            }
        };
        let mut lost = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for ((partition, epoch, seq), result) in about.into_iter().zip(results) {
            let Some(work) = self.works.get_mut(&partition).filter(|w| w.epoch == epoch) else {
                continue;
            };
            work.settle_failures = 0;
            touched.insert(partition);
            match result {
                Settled::Applied => self.applied(partition, seq, now),
                Settled::LeaseLost => {
                    lost.insert(partition);
                }
                Settled::Superseded => self.superseded(partition, seq, now),
            }
        }
        for partition in lost {
            self.lose(partition);
        }
        for partition in touched {
            if self
                .works
                .get(&partition)
                .is_some_and(|work| work.handover.is_some())
            {
                self.drop_idle_rows(partition, now);
            }
        }
    }

    /// Puts settlements back in front of the queue; the same ones are sent again.
    fn settle_failed(&mut self, about: &SettleCall, reason: String, now: Time) {
        for (partition, epoch, seq) in about.iter().rev() {
            if let Some(work) = self.works.get_mut(partition)
                && work.epoch == *epoch
                && work.rows.contains_key(seq)
            {
                work.queue.push_front(*seq);
            }
        }
        let partitions: BTreeSet<_> = about.iter().map(|(partition, ..)| *partition).collect();
        for partition in partitions {
            if let Some(work) = self.works.get_mut(&partition) {
                work.settle_failures = work.settle_failures.saturating_add(1);
                work.settle_at = now + pause_after(work.settle_failures);
            }
        }
        self.event(Event::StoreFailed {
            call: "settle",
            reason,
        });
    }

    /// A settlement is recorded.
    pub(super) fn applied(&mut self, partition: Partition, seq: Seq, now: Time) {
        let overtaken = self.has(Bug::FailedOvertaken);
        let ungated = self.has(Bug::NoKeyGate);
        let Some(work) = self.works.get_mut(&partition) else {
            return;
        };
        let Some(held) = work.rows.get_mut(&seq) else {
            return;
        };
        let Some((attempt, change)) = held.change.take() else {
            return;
        };
        if let Change::Mark(Mark::Suspect { crashes }) = change
            && held.stage == Stage::Marking
        {
            held.revision = held.revision.next();
            held.attempt = attempt;
            held.crashes = crashes;
            held.marked = true;
            held.stage = Stage::Ready;
            work.busy -= 1;
            work.reconsider(seq, ungated);
            self.solo_marked(partition, seq);
            return;
        }
        let key = held.key.clone();
        if key
            .as_ref()
            .and_then(|key| work.keys.get(key))
            .is_some_and(Key::runs_low)
        {
            work.next_poll = work.next_poll.min(now);
        }
        let doubtful = held.doubtful;
        let message = work.remove(seq).and_then(|held| held.message);
        let verdict = match change {
            Change::Verdict(verdict) => verdict,
            Change::Mark(_) => {
                if let Some(key) = key {
                    work.refresh(&key, ungated);
                }
                return;
            }
        };
        // One that comes back does not count: a few that fail on and on would use up the caution
        // before the message that kills the process has its turn, in every life anew.
        if matches!(verdict, Verdict::Done { .. } | Verdict::Dead { .. }) {
            work.cautious = work.cautious.saturating_sub(1);
        }
        if let Verdict::Retry { after, .. } | Verdict::Unknown { after, .. } = verdict {
            let due = now + after;
            work.due = Some(work.due.map_or(due, |at| at.min(due)));
        }
        let failure = |reason: &str, halts: bool| Failure {
            partition,
            seq,
            id: message.as_ref().map(|message| message.id().clone()),
            topic: message.as_ref().map(|message| message.topic().clone()),
            attempt,
            halts: halts && key.is_some(),
            reason: reason.to_owned(),
        };
        self.events.extend(match &verdict {
            Verdict::Done { .. } => None,
            Verdict::Retry { reason, .. } | Verdict::Unknown { reason, .. } => {
                Some(Event::PutBack(failure(reason, false)))
            }
            Verdict::Dead { reason, halts, .. } => Some(Event::Dead(failure(reason, *halts))),
        });
        self.ended = self.ended.wrapping_add(1);
        let Some(key) = key else { return };
        if let Some(state) = work.keys.get_mut(&key) {
            state.ended += 1;
        }
        match verdict {
            Verdict::Done { .. } | Verdict::Dead { halts: false, .. } => {
                work.clear(&key);
                work.hint(&key, now);
            }
            _ if overtaken => {}
            _ => {
                // The dead owner may have gone past it, to what is hidden behind it now.
                if doubtful {
                    work.doubt.owe();
                }
                work.close(&key);
                work.drop_followers(&key, seq, now);
            }
        }
        work.refresh(&key, ungated);
    }

    /// An operator changed the row: what is in memory of its key may be out of date.
    fn superseded(&mut self, partition: Partition, seq: Seq, now: Time) {
        self.event(Event::Superseded { partition, seq });
        self.cancel_solo(partition, seq);
        let Some(work) = self.works.get_mut(&partition) else {
            return;
        };
        let Some(held) = work.remove(seq) else { return };
        if held.stage == Stage::Marking {
            work.busy -= 1;
        }
        if let Some(key) = held.key {
            work.close(&key);
            work.drop_followers(&key, seq, now);
            work.refresh(&key, false);
        }
    }
}
