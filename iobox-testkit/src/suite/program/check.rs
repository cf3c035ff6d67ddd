//! Comparing a store with the model.

use std::collections::BTreeSet;

use iobox_core::{
    queue::Queue,
    store::{Admin, Body, FetchPartition, Fetched, Pending, ReplayId, State},
};

use super::run::{Known, Program};
use crate::suite::{
    Harness,
    model::Row,
    support::{entries, key},
};

impl<H: Harness> Program<H> {
    pub(super) async fn fetch(&mut self) {
        let mut request = self.owner.request();
        for part in &mut request.partitions {
            part.sweep = self.rng.u8(..4) == 0;
            if self.rng.bool() {
                part.limit = self.rng.usize(1..5);
            }
            part.release = (0..self.rng.usize(..3)).map(|_| key(&self.key())).collect();
            part.full = (0..self.rng.usize(..2)).map(|_| key(&self.key())).collect();
            let due = self.model.due(part.partition);
            part.held = due
                .iter()
                .filter(|_| self.rng.u8(..5) == 0)
                .map(|(row, _)| row.seq)
                .collect();
        }
        if self.rng.bool() {
            request.partitions.reverse();
        }
        self.log
            .note(format_args!("fetch {:?}", request.partitions));
        let fetched = self.owner.fetch_with(|all| *all = request.clone()).await;
        let released: BTreeSet<_> = fetched
            .released
            .iter()
            .map(|(partition, key)| (*partition, key.as_str().to_owned()))
            .collect();
        let mut expected = BTreeSet::new();
        for part in &request.partitions {
            let mut keys: BTreeSet<String> = part
                .release
                .iter()
                .map(|key| key.as_str().to_owned())
                .collect();
            if part.sweep {
                keys.extend(self.model.waiting_keys(part.partition));
            }
            for key in keys {
                if self.model.release(part.partition, &key) {
                    expected.insert((part.partition, key));
                }
            }
        }
        assert_eq!(released, expected, "keys of which rows were released");
        let order: Vec<_> = fetched.pending.iter().map(|row| row.partition).collect();
        let mut parts = request.partitions.iter().map(|part| part.partition);
        let sorted = order
            .chunk_by(|a, b| a == b)
            .all(|run| parts.any(|part| part == run[0]));
        assert!(
            sorted,
            "partitions come in the order of the request: {order:?}"
        );
        for part in &request.partitions {
            self.check(part, &fetched);
        }
        for aside in &fetched.aside {
            let part = request.partitions.iter();
            let part = part.clone().find(|part| part.partition == aside.partition);
            let part = part.unwrap_or_else(|| panic!("{aside:?} was not asked for"));
            let full = part.full.contains(&aside.key);
            let moved = self
                .model
                .set_aside(aside.partition, aside.key.as_str(), &part.held, full);
            assert_eq!(
                Some((aside.first, aside.count)),
                moved,
                "{aside:?} in {part:?}"
            );
        }
        self.known.extend(fetched.pending.iter().map(|row| Known {
            partition: row.partition,
            seq: row.seq,
            revision: row.revision,
        }));
    }

    /// Compares what a fetch returned of one partition with what is due in the model.
    pub(super) fn check(&self, part: &FetchPartition, fetched: &Fetched) {
        let full = |row: &Row| {
            let key = row.key.as_deref();
            part.full.iter().any(|full| Some(full.as_str()) == key)
        };
        let due = self.model.due(part.partition);
        let due: Vec<_> = due
            .into_iter()
            .filter(|(row, _)| !part.held.contains(&row.seq))
            .collect();
        let may_run: Vec<&Row> = due
            .iter()
            .filter(|(row, blocked)| !blocked && !full(row))
            .map(|(row, _)| *row)
            .collect();
        let got: Vec<&Pending> = fetched
            .pending
            .iter()
            .filter(|row| row.partition == part.partition)
            .collect();
        assert!(
            got.len() <= part.limit,
            "{} rows of {}",
            got.len(),
            part.limit
        );
        assert!(got.is_sorted_by_key(|row| row.seq), "in order: {got:?}");
        let mut fresh = may_run.iter().filter(|row| row.state == State::Pending);
        for got in &got {
            let row = may_run.iter().find(|row| row.seq == got.seq);
            let row = row.unwrap_or_else(|| panic!("{got:?} must not run in {part:?}"));
            same(got, row);
            // Of due retries a store may take those first that fell due first.
            if row.state == State::Pending {
                let oldest = fresh.next().map(|row| row.seq);
                assert_eq!(Some(got.seq), oldest, "the oldest first in {part:?}");
            }
        }
        let keys = |take: &dyn Fn(&Row, bool) -> bool| -> BTreeSet<&str> {
            let rows = due.iter().filter(|(row, blocked)| take(row, *blocked));
            rows.filter_map(|(row, _)| row.key.as_deref()).collect()
        };
        let blocked = keys(&|_, blocked| blocked);
        let crowd = keys(&|row, blocked| !blocked && full(row));
        let crowd_size = due.iter().filter(|(row, b)| !b && full(row)).count();
        let asides: Vec<_> = fetched
            .aside
            .iter()
            .filter(|aside| aside.partition == part.partition)
            .collect();
        let aside: BTreeSet<&str> = asides.iter().map(|aside| aside.key.as_str()).collect();
        assert_eq!(asides.len(), aside.len(), "each key once: {asides:?}");
        let more = fetched.more.contains(&part.partition);
        let strange: Vec<_> = aside
            .iter()
            .filter(|key| !blocked.contains(*key) && !crowd.contains(*key))
            .collect();
        assert!(
            strange.is_empty(),
            "{strange:?} are aside and not blocked, in {part:?}"
        );
        if crowd_size < part.limit {
            let only_blocked = aside.is_subset(&blocked);
            assert!(only_blocked, "no crowd, in {part:?}");
        }
        assert!(
            more || got.len() == may_run.len(),
            "there are more in {part:?}"
        );
        if part.limit == 1_000 {
            assert!(aside.is_superset(&blocked), "{aside:?} of {blocked:?}");
            assert!(!more || crowd_size > 0, "there are no more in {part:?}");
        } else {
            let idle = got.is_empty() && aside.is_empty() && crowd_size == 0;
            assert!(!idle || due.is_empty(), "nothing of {due:?} came");
        }
    }

    /// Compares every row, and the counts, with the model.
    pub(super) async fn compare(&self) {
        let store = self.harness.store().as_ref();
        let stored = entries(store).await;
        let facts: Vec<_> = stored
            .iter()
            .map(|e| {
                let key = e.key.as_ref().map(|key| key.as_str().to_owned());
                let settled = e.settled_at.is_some();
                let id = e.id.clone();
                (
                    e.seq,
                    id,
                    e.partition,
                    key,
                    e.state,
                    e.attempt,
                    e.uncertain,
                    e.halts,
                    settled,
                )
            })
            .collect();
        let expected: Vec<_> = self
            .model
            .rows
            .iter()
            .map(|r| {
                let settled = r.settled.is_some();
                let (id, key) = (r.id.clone(), r.key.clone());
                (
                    r.seq,
                    id,
                    r.partition,
                    key,
                    r.state,
                    r.attempt,
                    r.uncertain,
                    r.halts,
                    settled,
                )
            })
            .collect();
        assert_eq!(facts, expected, "the store and the model");
        let stats = store.stats(&Queue::Outbox).await.expect("stats");
        let count = |state| {
            self.model
                .rows
                .iter()
                .filter(|row| row.state == state)
                .count() as u64
        };
        assert_eq!(stats.pending, count(State::Pending));
        assert_eq!(stats.retrying, count(State::Retrying));
        assert_eq!(stats.waiting, count(State::Waiting));
        assert_eq!(stats.dead, count(State::Dead));
        let halted: BTreeSet<_> = self
            .model
            .rows
            .iter()
            .filter(|row| row.halts)
            .map(|row| &row.key)
            .collect();
        assert_eq!(stats.halted_keys, halted.len() as u64);
    }

    /// Compares the progress of every replay with the model.
    pub(super) async fn compare_replays(&self) {
        for replay in &self.replays {
            let store = self.harness.store();
            let progress = store
                .replay_progress(&Queue::Outbox, ReplayId(*replay))
                .await;
            let progress = progress.expect("replay_progress");
            let rows = self
                .model
                .rows
                .iter()
                .filter(|row| row.replay == Some(*replay));
            let count =
                |keep: fn(&Row) -> bool| rows.clone().filter(|row| keep(row)).count() as u64;
            let open = |row: &Row| row.is_open() || row.state == State::Waiting;
            assert_eq!(progress.unsettled, count(open));
            assert_eq!(progress.published, count(|row| row.state == State::Done));
            let absorbed = |row: &Row| row.state == State::Done && row.absorbed;
            assert_eq!(progress.absorbed, count(absorbed));
            assert_eq!(progress.dead, count(|row| row.state == State::Dead));
        }
    }
}

/// Asserts that a fetched row is that of the model.
fn same(got: &Pending, row: &Row) {
    let facts = (got.revision, got.attempt, got.crashes, got.uncertain);
    let expected = (row.revision, row.attempt, row.crashes, row.uncertain);
    assert_eq!(facts, expected, "{row:?}");
    if !row.vague {
        assert_eq!(
            (got.suspect, got.alone),
            (row.suspect, row.alone),
            "{row:?}"
        );
    }
    assert_eq!(got.key.as_ref().map(|key| key.as_str()), row.key.as_deref());
    assert_eq!(matches!(got.body, Body::Corrupt(_)), row.corrupt, "{row:?}");
}
