//! The reference model: what a queue does, in plain data, without a clock and without races.
//!
//! The random programs compare it with a store, step by step. It knows no limits: what a fetch
//! returns under limits is checked against what it would return without.

use std::{collections::BTreeSet, time::Duration};

use iobox_core::{
    partition::Partition,
    store::{Change, Filter, Mark, Revision, Seq, Settled, Settlement, State, Verdict},
};

/// A message of the model.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its place.
    pub seq: Seq,
    /// Its partition.
    pub partition: Partition,
    /// Its key.
    pub key: Option<String>,
    /// Its state.
    pub state: State,
    /// How often it changed.
    pub revision: Revision,
    /// Attempts counted.
    pub attempt: u32,
    /// Crashes counted.
    pub crashes: u32,
    /// Whether it ever had an unknown outcome.
    pub uncertain: bool,
    /// Whether it runs alone.
    pub alone: bool,
    /// Whether it is a suspect.
    pub suspect: bool,
    /// Whether `alone` and `suspect` are open: a replay of a discarded message says nothing of them.
    pub vague: bool,
    /// Whether it is dead and halts its key.
    pub halts: bool,
    /// Whether its stored row was spoiled.
    pub corrupt: bool,
    /// When it is due, if it is retrying.
    pub due: Option<Duration>,
    /// When it was settled.
    pub settled: Option<Duration>,
    /// Which replay took it last.
    pub replay: Option<i64>,
    /// Whether the broker absorbed it.
    pub absorbed: bool,
    /// The settlement that changed it last, if nothing else has since.
    pub last: Option<Settlement>,
}

impl Row {
    /// A message as it is enqueued.
    #[must_use]
    pub const fn new(id: String, seq: Seq, partition: Partition, key: Option<String>) -> Self {
        Self {
            id,
            seq,
            partition,
            key,
            state: State::Pending,
            revision: Revision(0),
            attempt: 0,
            crashes: 0,
            uncertain: false,
            alone: false,
            suspect: false,
            vague: false,
            halts: false,
            corrupt: false,
            due: None,
            settled: None,
            replay: None,
            absorbed: false,
            last: None,
        }
    }

    /// Whether it may be settled.
    #[must_use]
    pub const fn may_be_settled(&self) -> bool {
        self.is_open() || matches!(self.state, State::Waiting)
    }

    /// Whether it may run, or will later without a release.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Pending | State::Retrying)
    }

    /// Whether later messages of its key wait for it.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        match self.state {
            State::Retrying | State::Waiting => true,
            State::Dead => self.halts,
            _ => false,
        }
    }

    /// Whether a filter takes it; the topic is not looked at.
    #[must_use]
    pub fn matches(&self, filter: &Filter) -> bool {
        let key = filter.key.as_ref().map(|key| key.as_str());
        (filter.states.is_empty() || filter.states.contains(&self.state))
            && (key.is_none() || key == self.key.as_deref())
            && filter.partition.is_none_or(|one| one == self.partition)
    }

    fn change(&mut self) {
        self.revision = self.revision.next();
        self.last = None;
    }

    /// Moves between pending and waiting, which is no change. A verdict that made it retry cannot be
    /// seen in it any more.
    fn move_to(&mut self, state: State) {
        (self.state, self.due) = (state, None);
        if matches!(&self.last, Some(last) if matches!(last.change, Change::Verdict(_))) {
            self.last = None;
        }
    }

    fn apply(&mut self, settlement: &Settlement, now: Duration) {
        self.change();
        self.last = Some(settlement.clone());
        self.attempt = settlement.attempt;
        match &settlement.change {
            Change::Verdict(verdict) => {
                (self.suspect, self.alone, self.vague) = (false, false, false);
                self.crashes = 0;
                self.due = None;
                match verdict {
                    Verdict::Done { duplicate } => {
                        self.state = State::Done;
                        self.settled = Some(now);
                        self.absorbed = *duplicate;
                    }
                    Verdict::Retry { after, .. } => {
                        self.state = State::Retrying;
                        self.due = Some(now + *after);
                    }
                    Verdict::Unknown { after, alone, .. } => {
                        self.state = State::Retrying;
                        self.due = Some(now + *after);
                        (self.uncertain, self.alone) = (true, *alone);
                    }
                    Verdict::Dead {
                        halts, uncertain, ..
                    } => {
                        self.state = State::Dead;
                        self.uncertain |= *uncertain;
                        self.settled = Some(now);
                        self.halts = *halts && self.key.is_some();
                    }
                }
            }
            Change::Mark(Mark::Suspect { crashes }) => {
                (self.suspect, self.crashes) = (true, *crashes);
            }
            Change::Mark(Mark::Clear { crashes }) => {
                (self.suspect, self.crashes) = (false, *crashes);
            }
        }
    }

    /// Whether it looks as if `change` had been applied last.
    fn looks_like(&self, change: &Change) -> bool {
        match change {
            Change::Verdict(Verdict::Done { .. }) => self.state == State::Done,
            Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
                self.state == State::Retrying
            }
            Change::Verdict(Verdict::Dead { .. }) => self.state == State::Dead,
            Change::Mark(Mark::Suspect { .. }) => self.may_be_settled() && self.suspect,
            Change::Mark(Mark::Clear { .. }) => self.may_be_settled() && !self.suspect,
        }
    }
}

/// What a settlement may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This, and nothing else.
    Exactly(Settled),
    /// `Applied` or `Superseded`: a change of another kind left the row looking as this one would.
    Either,
}

impl Expected {
    /// Whether a store may report this.
    #[must_use]
    pub fn allows(self, settled: Settled) -> bool {
        match self {
            Self::Exactly(expected) => settled == expected,
            Self::Either => settled != Settled::LeaseLost,
        }
    }
}

/// A queue in plain data.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Its messages by seq.
    pub rows: Vec<Row>,
    /// How far its clock was moved.
    pub now: Duration,
}

impl Model {
    /// The message at `seq`.
    pub fn at(&mut self, seq: Seq) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.seq == seq)
    }

    /// Whether an earlier message of its key blocks `row`.
    #[must_use]
    pub fn is_blocked(&self, row: &Row) -> bool {
        row.key.is_some()
            && self
                .rows
                .iter()
                .any(|other| other.key == row.key && other.seq < row.seq && other.blocks())
    }

    /// The messages of a partition that are due, in order, each with whether it is blocked.
    #[must_use]
    pub fn due(&self, partition: Partition) -> Vec<(&Row, bool)> {
        self.rows
            .iter()
            .filter(|row| row.partition == partition && row.is_open())
            .filter(|row| row.due.is_none_or(|due| due <= self.now))
            .map(|row| (row, self.is_blocked(row)))
            .collect()
    }

    /// Sets aside the due messages of a key that `held` does not name and that are blocked, or, when
    /// the key is `full`, all of them. Returns the first and how many.
    pub fn set_aside(
        &mut self,
        partition: Partition,
        key: &str,
        held: &[Seq],
        full: bool,
    ) -> Option<(Seq, usize)> {
        let seqs: Vec<Seq> = self
            .due(partition)
            .into_iter()
            .filter(|(row, blocked)| {
                row.key.as_deref() == Some(key) && !held.contains(&row.seq) && (full || *blocked)
            })
            .map(|(row, _)| row.seq)
            .collect();
        for seq in &seqs {
            if let Some(row) = self.at(*seq) {
                row.move_to(State::Waiting);
            }
        }
        Some((*seqs.first()?, seqs.len()))
    }

    /// Makes the waiting messages of a key pending that have nothing but waiting ones in front;
    /// returns whether there were any.
    pub fn release(&mut self, partition: Partition, key: &str) -> bool {
        let mut released = false;
        for row in &mut self.rows {
            if row.partition != partition || row.key.as_deref() != Some(key) || !row.blocks() {
                continue;
            }
            if row.state != State::Waiting {
                break;
            }
            row.move_to(State::Pending);
            released = true;
        }
        released
    }

    /// The keys of a partition that have waiting messages.
    #[must_use]
    pub fn waiting_keys(&self, partition: Partition) -> BTreeSet<String> {
        self.rows
            .iter()
            .filter(|row| row.partition == partition && row.state == State::Waiting)
            .filter_map(|row| row.key.clone())
            .collect()
    }

    /// Settles one row; `held` says whether the fence holds.
    pub fn settle(&mut self, settlement: &Settlement, held: bool) -> Expected {
        let now = self.now;
        if !held {
            return Expected::Exactly(Settled::LeaseLost);
        }
        let Some(row) = self.at(settlement.seq) else {
            return Expected::Exactly(Settled::Superseded);
        };
        if row.may_be_settled() && row.revision == settlement.revision {
            row.apply(settlement, now);
            return Expected::Exactly(Settled::Applied);
        }
        if row.last.as_ref() == Some(settlement) {
            return Expected::Exactly(Settled::Applied);
        }
        let next = row.revision == settlement.revision.next();
        if next && row.looks_like(&settlement.change) {
            return Expected::Either;
        }
        Expected::Exactly(Settled::Superseded)
    }

    /// Replays the messages that `take` takes of those that are closed. Returns how many, and the
    /// least and the most that may count as out of order: whether a message that is replayed itself
    /// counts as done is left open.
    pub fn replay(&mut self, replay: i64, take: impl Fn(&Row) -> bool) -> (u64, u64, u64) {
        let closed = |row: &Row| {
            matches!(row.state, State::Dead | State::Done | State::Discarded) && take(row)
        };
        let taken: BTreeSet<Seq> = self
            .rows
            .iter()
            .filter(|row| closed(row))
            .map(|r| r.seq)
            .collect();
        let overtaken = |row: &Row, strict: bool| {
            row.key.is_some()
                && self.rows.iter().any(|later| {
                    later.key == row.key
                        && later.seq > row.seq
                        && later.state == State::Done
                        && !(strict && taken.contains(&later.seq))
                })
        };
        let count = |strict| {
            let rows = self.rows.iter().filter(|row| taken.contains(&row.seq));
            rows.filter(|row| overtaken(row, strict)).count() as u64
        };
        let (least, most) = (count(true), count(false));
        for row in self.rows.iter_mut().filter(|row| taken.contains(&row.seq)) {
            row.vague |= row.state == State::Discarded;
            row.state = State::Pending;
            (row.attempt, row.crashes, row.halts) = (0, 0, false);
            (row.settled, row.absorbed, row.due) = (None, false, None);
            row.replay = Some(replay);
            row.change();
        }
        (taken.len() as u64, least, most)
    }

    /// Discards the messages that `take` takes of those that are not closed. Returns how many.
    pub fn discard(&mut self, take: impl Fn(&Row) -> bool) -> u64 {
        let now = self.now;
        let mut count = 0;
        for row in &mut self.rows {
            if !matches!(row.state, State::Done | State::Discarded) && take(row) {
                row.state = State::Discarded;
                (row.halts, row.due, row.settled) = (false, None, Some(now));
                row.change();
                count += 1;
            }
        }
        count
    }

    /// The messages that a purge with this retention may remove.
    #[must_use]
    pub fn purgeable(&self, retention: Duration) -> BTreeSet<Seq> {
        self.rows
            .iter()
            .filter(|row| matches!(row.state, State::Done | State::Discarded))
            .filter(|row| row.settled.is_some_and(|at| at + retention < self.now))
            .map(|row| row.seq)
            .collect()
    }
}
