//! Settling: recording what became of messages, under the fence.

use std::time::Duration;

use iobox::store::{Change, Mark, Settled, Settlement, State, Verdict};

use super::{
    row::Status,
    slip::Slip,
    table::{Edit, Table},
};

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 1_000;

impl Edit<'_> {
    pub(super) fn settle(&mut self, settlements: &[Settlement], now: Duration) -> Vec<Settled> {
        let mut results = Vec::with_capacity(settlements.len());
        for one in settlements {
            let settled = self.judge(one);
            let place = (one.partition.number(), one.seq.0);
            if settled == Settled::Applied && !self.is_repeated(one) {
                let keyed = self.rows.get(&place).is_some_and(|row| row.key.is_some());
                self.set(place, |status| status.record(one, keyed, now));
            }
            results.push(settled);
        }
        results
    }
}

impl Table {
    /// The fence first, then the guard: the row must be the one that the caller looked at.
    fn judge(&self, settlement: &Settlement) -> Settled {
        if !self.is_held(settlement.partition, settlement.epoch) {
            return Settled::LeaseLost;
        }
        let place = (settlement.partition.number(), settlement.seq.0);
        let Some(row) = self.rows.get(&place) else {
            return Settled::Superseded;
        };
        let fits = row.status.revision == settlement.revision.0 || self.slip == Slip::NoRevision;
        if (row.status.is_open() && fits) || self.is_repeated(settlement) {
            Settled::Applied
        } else {
            Settled::Superseded
        }
    }

    /// Whether an earlier call whose reply was lost has recorded this.
    fn is_repeated(&self, settlement: &Settlement) -> bool {
        let place = (settlement.partition.number(), settlement.seq.0);
        self.slip != Slip::NoRevision
            && self.rows.get(&place).is_some_and(|row| {
                row.status.revision == settlement.revision.next().0
                    && row.status.is_result_of(&settlement.change)
            })
    }
}

impl Status {
    fn record(&mut self, settlement: &Settlement, keyed: bool, now: Duration) {
        self.revision = settlement.revision.next().0;
        self.attempt = settlement.attempt;
        let verdict = match &settlement.change {
            Change::Verdict(verdict) => verdict,
            Change::Mark(Mark::Suspect { crashes }) => {
                (self.suspect, self.crashes) = (true, *crashes);
                return;
            }
            Change::Mark(Mark::Clear { crashes }) => {
                (self.suspect, self.crashes) = (false, *crashes);
                return;
            }
        };
        (self.suspect, self.alone, self.crashes, self.due_at) = (false, false, 0, None);
        match verdict {
            Verdict::Done { duplicate } => {
                self.to(State::Done);
                self.settled_at = Some(now);
                self.absorbed = *duplicate;
            }
            Verdict::Retry { after, reason } => {
                self.to(State::Retrying);
                self.due_at = Some(now.saturating_add(*after));
                self.reason = Some(cut(reason));
            }
            Verdict::Unknown {
                after,
                reason,
                alone,
            } => {
                self.to(State::Retrying);
                self.due_at = Some(now.saturating_add(*after));
                self.reason = Some(cut(reason));
                (self.uncertain, self.alone) = (true, *alone);
            }
            Verdict::Dead {
                reason,
                halts,
                uncertain,
            } => {
                self.to(State::Dead);
                self.uncertain |= *uncertain;
                self.settled_at = Some(now);
                self.reason = Some(cut(reason));
                self.halts = *halts && keyed;
            }
        }
    }

    /// Whether the row looks as if `change` had just been recorded.
    fn is_result_of(&self, change: &Change) -> bool {
        let state = self.state();
        match change {
            Change::Verdict(Verdict::Done { .. }) => state == State::Done,
            Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
                state == State::Retrying
            }
            Change::Verdict(Verdict::Dead { .. }) => state == State::Dead,
            Change::Mark(Mark::Suspect { .. }) => self.is_open() && self.suspect,
            Change::Mark(Mark::Clear { .. }) => self.is_open() && !self.suspect,
        }
    }
}

/// Cuts a reason at the longest that is kept, between two characters.
fn cut(reason: &str) -> String {
    reason
        .get(..reason.floor_char_boundary(REASON_MAX))
        .unwrap_or(reason)
        .to_owned()
}
