//! The in-memory table of one queue with its indexes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::row::Row;
use crate::{
    dispatch::Bug,
    message::{MessageId, OrderingKey},
    partition::{Partition, Partitions},
    store::{
        Aside, Epoch, FetchPartition, FetchRequest, Fetched, InstanceId, Seq, Settled, Settlement,
        State,
    },
};

/// The most waiting rows of a key that one fetch releases.
const RELEASE_MAX: usize = 256;
/// The most keys that one sweep of a partition looks at.
const SWEEP_MAX: usize = 64;
/// The most rows of a partition that a fetch reads to set some aside.
const ASIDE_MAX: usize = 1_024;

type Place = (Partition, Seq);

/// What a fetch takes.
struct Taking<'a> {
    /// So many bytes so far.
    bytes: &'a mut usize,
    /// Rows that a planted bug lets through although they are blocked.
    free: &'a BTreeSet<Place>,
}

/// Who owns a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) owner: Option<InstanceId>,
    pub(super) epoch: Epoch,
    /// Whether its last owner but one may have died executing.
    pub(super) abandoned: bool,
}

/// A registered instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) started: Duration,
    pub(super) expires: Duration,
    pub(super) in_flight: u32,
}

/// Rows, indexes, partitions, instances.
#[derive(Debug, Default)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Table {
    rows: BTreeMap<Place, Row>,
    /// Places of pending and retrying rows.
    open: BTreeSet<Place>,
    /// Rows that block their key.
    blockers: BTreeMap<(Partition, OrderingKey), BTreeSet<Seq>>,
    /// Where the message of each id is or was, and when it was enqueued.
    ids: HashMap<MessageId, (Place, Duration)>,
    pub(super) slots: BTreeMap<Partition, Slot>,
    pub(super) members: BTreeMap<InstanceId, Member>,
    pub(super) next_seq: i64,
    pub(super) next_replay: i64,
    #[cfg(iobox_bugs)]
    pub(super) bug: Option<Bug>,
}

impl Table {
    pub(super) fn new(partitions: Partitions) -> Self {
        let slot = Slot {
            owner: None,
            epoch: Epoch(0),
            abandoned: false,
        };
        Self {
            slots: partitions
                .iter()
                .map(|partition| (partition, slot))
                .collect(),
            ..Self::default()
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// How many rows are pending or retrying.
    pub(super) fn open_rows(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Row> {
        self.rows.get(&place)
    }

    pub(super) fn place_of(&self, id: &MessageId) -> Option<Place> {
        self.ids.get(id).map(|(place, _)| *place)
    }

    pub(super) fn insert(&mut self, row: Row) {
        let place = (row.partition, row.seq);
        // The rows of a handler may share an id, if they came from other origins: the first keeps it.
        self.ids
            .entry(row.message.id().clone())
            .or_insert((place, row.enqueued_at));
        self.index(&row);
        self.rows.insert(place, row);
    }

    /// Forgets ids that were enqueued before `time` and whose messages are gone, at most `limit`,
    /// oldest first.
    pub(super) fn forget_ids(&mut self, time: Duration, limit: usize) {
        let gone = |place: &Place| !self.rows.contains_key(place);
        let mut old: Vec<_> = self
            .ids
            .iter()
            .filter(|(_, (place, at))| *at < time && gone(place))
            .map(|(id, (place, at))| (*at, *place, id.clone()))
            .collect();
        old.sort_unstable();
        for (_, _, id) in old.into_iter().take(limit) {
            self.ids.remove(&id);
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(row) = self.rows.remove(&place) {
            self.unindex(&row);
            // The id stays known, so that a caller who repeats himself is told so.
        }
    }

    /// Changes the row at `place` and keeps the indexes right.
    pub(super) fn change<T>(
        &mut self,
        place: Place,
        change: impl FnOnce(&mut Row) -> T,
    ) -> Option<T> {
        let mut row = self.rows.remove(&place)?;
        self.unindex(&row);
        let result = change(&mut row);
        self.index(&row);
        self.rows.insert(place, row);
        Some(result)
    }

    fn index(&mut self, row: &Row) {
        if matches!(row.state, State::Pending | State::Retrying) {
            self.open.insert((row.partition, row.seq));
        }
        if let Some(key) = row.key().filter(|_| row.blocks()) {
            self.blockers
                .entry((row.partition, key.clone()))
                .or_default()
                .insert(row.seq);
        }
    }

    fn unindex(&mut self, row: &Row) {
        self.open.remove(&(row.partition, row.seq));
        if let Some(key) = row.key().filter(|_| row.blocks()) {
            let key = (row.partition, key.clone());
            if let Some(seqs) = self.blockers.get_mut(&key) {
                seqs.remove(&row.seq);
                if seqs.is_empty() {
                    self.blockers.remove(&key);
                }
            }
        }
    }

    /// Whether `bug` is planted; never without the cfg.
    #[cfg(iobox_bugs)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether `bug` is planted; never without the cfg.
    #[cfg(not(iobox_bugs))]
    #[allow(
        clippy::unused_self,
        reason = "the twin under the cfg looks at the field"
    )]
    pub(super) const fn has(&self, _: Bug) -> bool {
        false
    }

    /// Whether the partition is held under `epoch`.
    pub(super) fn is_current(&self, partition: Partition, epoch: Epoch) -> bool {
        if self.has(Bug::UnfencedSettle) {
            return true;
        }
        self.slots
            .get(&partition)
            .is_some_and(|slot| slot.owner.is_some() && slot.epoch == epoch)
    }

    /// What a settlement would do now; one that was applied before is superseded.
    pub(super) fn would_settle(&self, settlement: &Settlement) -> Settled {
        if !self.is_current(settlement.partition, settlement.epoch) {
            return Settled::LeaseLost;
        }
        let row = self.get((settlement.partition, settlement.seq));
        if row.is_some_and(|row| row.is_open() && row.revision == settlement.revision) {
            Settled::Applied
        } else {
            Settled::Superseded
        }
    }

    fn is_blocked(&self, row: &Row) -> bool {
        if self.has(Bug::BlockedNotChecked) {
            return false;
        }
        row.key().is_some_and(|key| {
            self.blockers
                .get(&(row.partition, key.clone()))
                .and_then(BTreeSet::first)
                .is_some_and(|first| *first < row.seq)
        })
    }

    /// Fetches what is due; see [`Store::fetch`](crate::Store::fetch).
    pub(super) fn fetch(&mut self, request: &FetchRequest, now: Duration) -> Fetched {
        let mut fetched = Fetched::default();
        let mut bytes = 0_usize;
        let mut free = BTreeSet::new();
        for part in &request.partitions {
            if self.is_current(part.partition, part.epoch) {
                free.extend(self.release(part, &mut fetched));
            }
        }
        if !self.has(Bug::FollowersReleasedEarly) {
            free.clear();
        }
        for part in &request.partitions {
            let mut taking = Taking {
                bytes: &mut bytes,
                free: &free,
            };
            let in_the_way = self.scan(part, request, now, &mut taking, &mut fetched);
            if !in_the_way.is_empty() && self.is_current(part.partition, part.epoch) {
                self.set_aside(part, &in_the_way, now, &mut fetched);
            }
        }
        fetched
    }

    /// The rows of a partition that are due and not held, oldest first.
    fn due(&self, part: &FetchPartition, now: Duration) -> impl Iterator<Item = &Row> {
        let held: BTreeSet<Seq> = part.held.iter().copied().collect();
        let range = (part.partition, Seq(i64::MIN))..=(part.partition, Seq(i64::MAX));
        self.open
            .range(range)
            .filter_map(|place| self.rows.get(place))
            .filter(move |row| row.due_at.is_none_or(|due| due <= now) && !held.contains(&row.seq))
    }

    /// Takes what may run, and returns the keys of which rows are in the way.
    fn scan(
        &self,
        part: &FetchPartition,
        request: &FetchRequest,
        now: Duration,
        taking: &mut Taking<'_>,
        fetched: &mut Fetched,
    ) -> BTreeSet<OrderingKey> {
        let (mut blocked, mut full) = (BTreeSet::new(), BTreeSet::new());
        let limit = part.limit.min(request.limit - fetched.pending.len());
        let (mut taken, mut crowd, mut more) = (0, 0, false);
        for (looked, row) in self.due(part, now).enumerate() {
            let key = row.key();
            if looked >= part.limit.saturating_mul(2) {
                more = true;
                break;
            }
            if self.is_blocked(row) && !taking.free.contains(&(row.partition, row.seq)) {
                blocked.extend(key.cloned());
            } else if key.is_some_and(|key| part.full.contains(key)) {
                crowd += 1;
                full.extend(key.cloned());
            } else if taken < limit
                && (*taking.bytes + row.message.size() <= request.bytes
                    || fetched.pending.is_empty())
            {
                taken += 1;
                *taking.bytes += row.message.size();
                fetched.pending.push(row.pending(now));
            } else {
                more = true;
                if request.limit > 0 {
                    break;
                }
            }
        }
        if more {
            fetched.more.push(part.partition);
        }
        if crowd >= part.limit.max(1) {
            blocked.append(&mut full);
        }
        blocked
    }

    /// Makes the rows of `keys` waiting that are blocked, or of a full key.
    fn set_aside(
        &mut self,
        part: &FetchPartition,
        keys: &BTreeSet<OrderingKey>,
        now: Duration,
        fetched: &mut Fetched,
    ) {
        let mut moved: BTreeMap<OrderingKey, Vec<Seq>> = BTreeMap::new();
        for row in self.due(part, now).take(ASIDE_MAX) {
            if let Some(key) = row.key().filter(|key| keys.contains(key))
                && (part.full.contains(key) || self.is_blocked(row))
            {
                moved.entry(key.clone()).or_default().push(row.seq);
            }
        }
        for (key, seqs) in moved {
            for seq in &seqs {
                self.change((part.partition, *seq), |row| {
                    row.state = State::Waiting;
                    row.due_at = None;
                });
            }
            if let Some(first) = seqs.first() {
                fetched.aside.push(Aside {
                    partition: part.partition,
                    key,
                    first: *first,
                    count: seqs.len(),
                });
            }
        }
    }

    /// Makes waiting rows pending that have nothing in front of them, and returns which.
    fn release(&mut self, part: &FetchPartition, fetched: &mut Fetched) -> Vec<Place> {
        let early = self.has(Bug::FollowersReleasedEarly);
        let mut keys = part.release.clone();
        let mut released = Vec::new();
        if part.sweep {
            let swept = self
                .blockers
                .range((part.partition, OrderingKey::stored(""))..)
                .take_while(|((partition, _), _)| *partition == part.partition)
                .filter(|((partition, _), seqs)| {
                    let mut seqs = seqs.iter().take(if early { usize::MAX } else { 1 });
                    seqs.any(|seq| self.is_waiting((*partition, *seq)))
                })
                .map(|((_, key), _)| key.clone())
                .take(SWEEP_MAX);
            keys.extend(swept);
        }
        for key in keys {
            let waiting: Vec<Seq> = self
                .blockers
                .get(&(part.partition, key.clone()))
                .into_iter()
                .flatten()
                .take(RELEASE_MAX)
                .copied()
                .skip_while(|seq| early && !self.is_waiting((part.partition, *seq)))
                .take_while(|seq| self.is_waiting((part.partition, *seq)))
                .collect();
            if waiting.is_empty() {
                continue;
            }
            for seq in waiting {
                self.change((part.partition, seq), |row| row.state = State::Pending);
                released.push((part.partition, seq));
            }
            fetched.released.push((part.partition, key));
        }
        released
    }

    fn is_waiting(&self, place: Place) -> bool {
        let row = self.rows.get(&place);
        row.is_some_and(|row| row.state == State::Waiting)
    }
}
