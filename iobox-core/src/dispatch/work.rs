//! The work on one partition: its rows in memory, their keys, and the calls under way.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    CallId, Time,
    doubt::Doubt,
    held::{Held, Stage},
    key::{Hashed, Key},
};
use crate::{
    message::OrderingKey,
    store::{Aside, Change, Epoch, Grant, Mark, Seq},
};

/// The most keys with rows set aside that are remembered; the sweep finds the others.
const ASIDE_MAX: usize = 1_024;
/// The most waiting rows of a key that a fetch releases.
pub(super) const RELEASED_MAX: usize = 256;

/// A fetch under way.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Fetching {
    pub(super) call: CallId,
    /// Keys that the request named as full.
    pub(super) full: BTreeSet<OrderingKey>,
    /// Keys that the request asked to release.
    pub(super) hinted: Vec<OrderingKey>,
    /// Whether the request asked for a sweep.
    pub(super) sweep: bool,
    /// Keys that got a blocker since it was sent: its rows of them may be blocked by now.
    pub(super) closed: BTreeSet<Hashed>,
    /// Keys of which a row was settled for good since it was sent: what it sets aside may have
    /// nothing in front any more.
    pub(super) cleared: BTreeSet<Hashed>,
}

/// One owned partition.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Work {
    pub(super) epoch: Epoch,
    pub(super) granted: Time,
    /// Boxed, since a map moves its neighbours with every row that comes or goes.
    pub(super) rows: BTreeMap<Seq, Box<Held>>,
    pub(super) keys: BTreeMap<Hashed, Key>,
    /// Rows whose turn has come.
    pub(super) runnable: BTreeSet<Seq>,
    /// Rows whose turn has come and that must run alone.
    pub(super) solos: BTreeSet<Seq>,
    /// Rows in flight, or being marked before.
    pub(super) busy: usize,
    pub(super) bytes: usize,
    /// Settlements to send, oldest first.
    pub(super) queue: VecDeque<Seq>,
    pub(super) queued_since: Time,
    pub(super) settling: Option<CallId>,
    pub(super) settle_at: Time,
    pub(super) settle_failures: u32,
    pub(super) fetching: Option<Fetching>,
    pub(super) fetch_failures: u32,
    pub(super) next_poll: Time,
    /// When the next message that is known to be retrying is due.
    pub(super) due: Option<Time>,
    /// How many executions had ended when the shares of its keys were last adapted.
    pub(super) paced_at: usize,
    pub(super) more: bool,
    /// Whether the last fetch set so many rows aside that others are likely to be in the way.
    pub(super) clogged: bool,
    pub(super) next_sweep: Time,
    /// Keys with rows set aside, as far as remembered, and how many of the rows that were released
    /// may still be in the store.
    pub(super) aside: BTreeMap<OrderingKey, usize>,
    /// Keys whose rows may be released.
    pub(super) hints: BTreeSet<OrderingKey>,
    /// How many more messages are marked before they run.
    pub(super) cautious: usize,
    /// What the owner before may have executed.
    pub(super) doubt: Doubt,
    /// Set while the partition is handed over: when to stop waiting.
    pub(super) handover: Option<Time>,
    /// The highest seq seen; read by a planted bug alone.
    pub(super) highest: Option<Seq>,
}

impl Work {
    pub(super) fn new(grant: &Grant, cautious: usize, doubt: Doubt, now: Time) -> Self {
        Self {
            epoch: grant.epoch,
            granted: now,
            rows: BTreeMap::new(),
            keys: BTreeMap::new(),
            runnable: BTreeSet::new(),
            solos: BTreeSet::new(),
            busy: 0,
            bytes: 0,
            queue: VecDeque::new(),
            queued_since: now,
            settling: None,
            settle_at: now,
            settle_failures: 0,
            fetching: None,
            fetch_failures: 0,
            next_poll: now,
            due: None,
            paced_at: 0,
            more: false,
            clogged: false,
            next_sweep: now,
            aside: BTreeMap::new(),
            hints: BTreeSet::new(),
            cautious,
            doubt,
            handover: None,
            highest: None,
        }
    }

    /// Takes a row into memory.
    pub(super) fn insert(&mut self, seq: Seq, held: Held, capacity: usize) {
        self.bytes += held.size;
        let key = held.key.clone();
        self.rows.insert(seq, Box::new(held));
        if let Some(key) = key {
            let state = self
                .keys
                .entry(key.clone())
                .or_insert_with(|| Key::new(capacity));
            state.rows.insert(seq);
            if state.rows.len() > 1 {
                self.refresh(&key, false);
                return;
            }
        }
        self.offer(seq);
    }

    /// Drops a row from memory.
    pub(super) fn remove(&mut self, seq: Seq) -> Option<Box<Held>> {
        let held = self.rows.remove(&seq)?;
        self.bytes -= held.size;
        self.runnable.remove(&seq);
        self.solos.remove(&seq);
        if let Some(key) = &held.key
            && let Some(state) = self.keys.get_mut(key)
        {
            state.rows.remove(&seq);
            if state.rows.is_empty() {
                self.keys.remove(key);
            }
        }
        Some(held)
    }

    /// Puts a row whose turn has come where the executor looks.
    fn offer(&mut self, seq: Seq) {
        if let Some(held) = self.rows.get(&seq)
            && held.stage == Stage::Ready
        {
            if held.needs_solo() {
                self.solos.insert(seq);
            } else {
                self.runnable.insert(seq);
            }
        }
    }

    /// Finds out anew which row of `key` may run: the first that is not as good as settled, unless
    /// another is in flight. With `ungated` (a planted bug) all of them may.
    pub(super) fn refresh(&mut self, key: &Hashed, ungated: bool) {
        let Some(state) = self.keys.get(key) else {
            return;
        };
        let mut turn = None;
        let mut open = true;
        for seq in &state.rows {
            self.runnable.remove(seq);
            self.solos.remove(seq);
            let Some(held) = self.rows.get(seq) else {
                continue;
            };
            if matches!(
                held.stage,
                Stage::Running { .. } | Stage::Marking | Stage::Judging
            ) {
                open = false;
                turn = None;
            } else if open && turn.is_none() && !held.is_passable() {
                turn = Some(*seq);
            }
        }
        if ungated {
            for seq in state.rows.clone() {
                self.offer(seq);
            }
        } else if let Some(seq) = turn {
            self.offer(seq);
        }
    }

    /// Lets the row, or the row of its key whose turn it is, be executed.
    pub(super) fn reconsider(&mut self, seq: Seq, ungated: bool) {
        match self.rows.get(&seq).map(|held| held.key.clone()) {
            Some(Some(key)) => self.refresh(&key, ungated),
            Some(None) => self.offer(seq),
            None => {}
        }
    }

    /// Drops the rows of `key` behind `seq` that nothing is being done with: the store knows them as
    /// blocked from now on.
    pub(super) fn drop_followers(&mut self, key: &Hashed, seq: Seq, now: Time) {
        let Some(state) = self.keys.get(key) else {
            return;
        };
        let followers: Vec<Seq> = state
            .rows
            .range(seq..)
            .filter(|follower| **follower != seq)
            .copied()
            .collect();
        for follower in followers {
            self.let_go(follower, now);
        }
    }

    /// Drops a row that nothing is being done with. A mark is taken back first, since the row was not
    /// executed.
    pub(super) fn let_go(&mut self, seq: Seq, now: Time) {
        let Some(held) = self.rows.get_mut(&seq) else {
            return;
        };
        if !matches!(held.stage, Stage::Ready | Stage::Paused) {
            return;
        }
        if held.doubtful && !held.suspect && !held.uncertain {
            self.doubt.owe();
        }
        if held.marked {
            let attempt = held.attempt - held.counted_ahead;
            let crashes = held.crashes - held.counted_ahead;
            // What a dead owner may have executed stays a suspect, or it would run beside others next
            // time.
            let mark = if held.suspect {
                Mark::Suspect { crashes }
            } else {
                Mark::Clear { crashes }
            };
            held.stage = Stage::Settling;
            held.change = Some((attempt, Change::Mark(mark)));
            self.runnable.remove(&seq);
            self.solos.remove(&seq);
            self.enqueue(seq, now);
        } else {
            self.remove(seq);
        }
    }

    /// Notes that `key` got a blocker in front of rows that a fetch under way may return.
    pub(super) fn close(&mut self, key: &Hashed) {
        if let Some(fetching) = &mut self.fetching {
            fetching.closed.insert(key.clone());
        }
    }

    /// Notes that a row of `key` was settled for good.
    pub(super) fn clear(&mut self, key: &Hashed) {
        if let Some(fetching) = &mut self.fetching {
            fetching.cleared.insert(key.clone());
        }
    }

    /// Notes that rows of a key were set aside.
    pub(super) fn set_aside(&mut self, aside: &Aside, now: Time) {
        if let Some(ahead) = self.remember_aside(aside.key.clone()) {
            *ahead = ahead.saturating_sub(aside.count);
        }
        // Later ones may be in memory, if these were committed late: they come back behind them.
        let key = Hashed::new(aside.key.clone());
        self.drop_followers(&key, aside.first, now);
        self.refresh(&key, false);
    }

    /// Remembers that rows of `key` are set aside.
    fn remember_aside(&mut self, key: OrderingKey) -> Option<&mut usize> {
        if self.aside.len() < ASIDE_MAX || self.aside.contains_key(&key) {
            Some(self.aside.entry(key).or_default())
        } else {
            None
        }
    }

    /// Notes that rows of `key` were released: they are to be fetched.
    pub(super) fn released(&mut self, key: OrderingKey, now: Time) {
        if let Some(ahead) = self.remember_aside(key) {
            *ahead = ahead.saturating_add(RELEASED_MAX);
        }
        self.more = true;
        self.next_poll = now;
    }

    /// Notes that everything that is due came, but for keys that are `full`. Returns the keys whose
    /// released rows are thereby used up.
    pub(super) fn exhausted(&mut self, full: &BTreeSet<OrderingKey>) -> Vec<OrderingKey> {
        let mut keys = Vec::new();
        for (key, ahead) in &mut self.aside {
            if *ahead > 0 && !full.contains(key) {
                *ahead = 0;
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Notes that a released row of `key` is pending in the store no more.
    pub(super) fn caught_up(&mut self, key: &OrderingKey) {
        if let Some(ahead) = self.aside.get_mut(key) {
            *ahead = ahead.saturating_sub(1);
        }
    }

    /// Asks for the rows of `key` that are set aside, if there are any, memory has room for them, and
    /// those that were released before are used up: what fills a fetch would be set aside again.
    pub(super) fn hint(&mut self, key: &Hashed, now: Time) {
        let Some(ahead) = self.aside.get(&key.key) else {
            return;
        };
        let room = self
            .keys
            .get(key)
            .map_or(*ahead == 0, |state| state.wants_more(*ahead));
        if room {
            self.hints.insert(key.key.clone());
            self.next_poll = self.next_poll.min(now);
        }
    }

    /// Queues the settlement of a row.
    pub(super) fn enqueue(&mut self, seq: Seq, now: Time) {
        if self.queue.is_empty() {
            self.queued_since = now;
        }
        self.queue.push_back(seq);
    }

    /// Whether nothing is in flight or unrecorded.
    pub(super) fn is_quiet(&self) -> bool {
        self.busy == 0 && self.queue.is_empty() && self.settling.is_none()
    }

    /// When to poll next, of its own accord or because a retry is due.
    pub(super) fn poll_at(&self) -> Time {
        self.due
            .map_or(self.next_poll, |due| due.min(self.next_poll))
    }
}

/// A pause that doubles with each failure, from 20 ms to 1 s.
pub(super) fn pause_after(failures: u32) -> Duration {
    Duration::from_millis(20)
        .saturating_mul(1 << failures.min(6))
        .min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_a_second() {
        let pauses = [0, 1, 2, 5, 6, u32::MAX].map(|n| pause_after(n).as_millis());
        assert_eq!(pauses, [20, 40, 80, 640, 1_000, 1_000]);
    }
}
