//! Fetching: what is due, without what must wait for something of its key.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use iobox::{
    message::OrderingKey,
    store::{Aside, FetchPartition, FetchRequest, Fetched, Seq, State},
};

use super::{
    row::{Place, Row},
    slip::Slip,
    table::{Edit, Table},
};

/// The most waiting rows of a key that one fetch releases.
const RELEASE_MAX: usize = 256;

/// The most keys that one sweep of a partition releases.
const SWEEP_MAX: usize = 64;

/// The most rows of a partition that one fetch looks at to set some aside.
const ASIDE_MAX: usize = 1_024;

/// A row that is due and that the caller does not hold.
struct Due<'a> {
    row: &'a Row,
    /// Whether an earlier row of its key is retrying, waiting, or dead and halting.
    blocked: bool,
    /// Whether its key has its share of the caller's memory.
    full: bool,
}

impl Table {
    /// What is due of a partition, oldest first. Who is blocked is found in the rows, each time.
    fn due(&self, part: &FetchPartition, now: Duration) -> impl Iterator<Item = Due<'_>> {
        let held: HashSet<i64> = part.held.iter().map(|seq| seq.0).collect();
        let full: HashSet<String> = part.full.iter().map(OrderingKey::to_string).collect();
        let mut blockers = HashSet::new();
        let checks = self.slip != Slip::NoOrder;
        self.rows_of(part.partition).filter_map(move |row| {
            let key = row.key.as_deref();
            let blocked = checks && key.is_some_and(|key| blockers.contains(key));
            if row.status.blocks() {
                blockers.extend(key);
            }
            let runs = matches!(row.status.state(), State::Pending | State::Retrying);
            let due = runs && row.status.due_at.is_none_or(|due| due <= now);
            (due && !held.contains(&row.place.1)).then(|| Due {
                row,
                blocked,
                full: key.is_some_and(|key| full.contains(key)),
            })
        })
    }

    /// The waiting rows of each key that have nothing in front of them but waiting rows, oldest first.
    fn ready(&self, part: &FetchPartition) -> BTreeMap<String, Vec<Place>> {
        let mut ready: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        let mut closed = HashSet::new();
        for row in self.rows_of(part.partition) {
            let Some(key) = row.key.as_ref().filter(|_| row.status.blocks()) else {
                continue;
            };
            if row.status.state() != State::Waiting {
                closed.insert(key);
            } else if !closed.contains(key) {
                let places = ready.entry(key.clone()).or_default();
                if places.len() < RELEASE_MAX {
                    places.push(row.place);
                }
            }
        }
        let named = |key: &String| part.release.iter().any(|named| named.as_str() == key);
        let mut swept = 0;
        ready.retain(|key, _| {
            let sweeps = part.sweep && swept < SWEEP_MAX;
            swept += usize::from(sweeps);
            sweeps || named(key)
        });
        ready
    }
}

impl Edit<'_> {
    pub(super) fn fetch(&mut self, request: &FetchRequest, now: Duration) -> Fetched {
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        for part in &request.partitions {
            // Reading is not fenced, moving is.
            if self.is_held(part.partition, part.epoch) {
                self.release(part, &mut fetched);
            }
        }
        for part in &request.partitions {
            let in_the_way = self.take(part, request, now, &mut bytes, &mut fetched);
            if !in_the_way.is_empty() && self.is_held(part.partition, part.epoch) {
                self.set_aside(part, &in_the_way, now, &mut fetched);
            }
        }
        fetched
    }

    /// Makes waiting rows pending that have nothing in front of them any more.
    fn release(&mut self, part: &FetchPartition, fetched: &mut Fetched) {
        for (key, places) in self.ready(part) {
            for place in places {
                self.set(place, |status| status.to(State::Pending));
            }
            fetched
                .released
                .push((part.partition, OrderingKey::stored(key)));
        }
    }

    /// Takes what may run, and returns the keys of which rows are in the way.
    fn take(
        &self,
        part: &FetchPartition,
        request: &FetchRequest,
        now: Duration,
        bytes: &mut usize,
        fetched: &mut Fetched,
    ) -> BTreeSet<String> {
        let limit = part.limit.min(request.limit - fetched.pending.len());
        let (mut blocked, mut full) = (BTreeSet::new(), BTreeSet::new());
        let (mut taken, mut crowd, mut more) = (0, 0, false);
        for (looked, due) in self.due(part, now).enumerate() {
            let (key, size) = (due.row.key.clone(), due.row.size);
            if looked >= part.limit.saturating_mul(2) {
                more = true;
                break;
            }
            let fits = *bytes + size <= request.bytes || fetched.pending.is_empty();
            if due.blocked {
                blocked.extend(key);
            } else if due.full {
                crowd += 1;
                full.extend(key);
            } else if taken < limit && fits {
                taken += 1;
                *bytes += size;
                fetched.pending.push(due.row.pending(self.origin(), now));
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
        // Full keys are only in the way when they alone would fill a whole fetch.
        if crowd >= part.limit.max(1) {
            blocked.append(&mut full);
        }
        blocked
    }

    /// Makes rows of `keys` waiting, so that they do not hide the rest of their partition.
    fn set_aside(
        &mut self,
        part: &FetchPartition,
        keys: &BTreeSet<String>,
        now: Duration,
        fetched: &mut Fetched,
    ) {
        let mut moved: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for due in self.due(part, now).take(ASIDE_MAX) {
            if let Some(key) = due.row.key.as_ref().filter(|key| keys.contains(*key))
                && (due.blocked || due.full)
            {
                moved.entry(key.clone()).or_default().push(due.row.place);
            }
        }
        for (key, places) in moved {
            for place in &places {
                self.set(*place, |status| {
                    status.to(State::Waiting);
                    status.due_at = None;
                });
            }
            fetched.aside.extend(places.first().map(|first| Aside {
                partition: part.partition,
                key: OrderingKey::stored(key),
                first: Seq(first.1),
                count: places.len(),
            }));
        }
    }
}
