//! The hint: a snapshot to which the cursor of a partition may move.
//!
//! A settlement moves the cursor of a log only to a snapshot in which nothing is unfinished below it.
//! That of a fetch is such a one as soon as what the fetch returned is settled, while that of the
//! settlement itself may show messages that were committed meanwhile. A hint is nothing that anybody
//! trusts: the statement looks for itself whether it may move there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use iobox_core::{partition::Partition, store::FetchPartition};

/// The hints of each partition: the oldest fetch that no cursor has moved to, and the latest one. Lost
/// with the process, and harmless then.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<HashMap<Partition, Pair>>);

#[derive(Debug)]
struct Pair {
    oldest: String,
    latest: Option<String>,
}

impl Hints {
    /// A fetch of `parts` saw what is visible in `snapshot`.
    pub(super) fn note(&self, parts: &[FetchPartition], snapshot: &str) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            pairs
                .entry(part.partition)
                .and_modify(|pair| pair.latest = Some(snapshot.to_owned()))
                .or_insert_with(|| Pair {
                    oldest: snapshot.to_owned(),
                    latest: None,
                });
        }
    }

    pub(super) fn get(&self, partition: Partition) -> Option<String> {
        self.both(partition).map(|(oldest, _)| oldest)
    }

    /// The oldest and the latest, if that is another one.
    pub(super) fn both(&self, partition: Partition) -> Option<(String, Option<String>)> {
        let pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = pairs.get(&partition)?;
        Some((pair.oldest.clone(), pair.latest.clone()))
    }

    /// The cursor moved to the latest snapshot of those days, or to an earlier one.
    pub(super) fn advanced(&self, partition: Partition, snapshot: &str) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs
            .get(&partition)
            .is_some_and(|pair| pair.latest.as_deref() == Some(snapshot))
        {
            pairs.remove(&partition);
            return;
        }
        drop(pairs);
        self.reached(partition, Some(snapshot));
    }

    /// The cursor moved to `snapshot`, or beyond it.
    pub(super) fn reached(&self, partition: Partition, snapshot: Option<&str>) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pair) = pairs.remove(&partition) else {
            return;
        };
        if Some(pair.oldest.as_str()) == snapshot
            && let Some(latest) = pair.latest
        {
            let next = Pair {
                oldest: latest,
                latest: None,
            };
            pairs.insert(partition, next);
        } else if Some(pair.oldest.as_str()) != snapshot {
            // Another settlement was quicker.
            pairs.insert(partition, pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use iobox_core::store::Epoch;

    use super::*;

    #[test]
    fn the_oldest_comes_first_and_then_the_latest() {
        let hints = Hints::default();
        let partition = Partition::new(3);
        let part = FetchPartition {
            partition,
            epoch: Epoch(1),
            limit: 1,
            held: Vec::new(),
            full: Vec::new(),
            release: Vec::new(),
            sweep: false,
        };
        let parts = [part];
        assert_eq!(hints.get(partition), None);
        for snapshot in ["1:1:", "2:2:", "3:3:"] {
            hints.note(&parts, snapshot);
        }
        assert_eq!(hints.get(partition).as_deref(), Some("1:1:"));
        hints.reached(partition, Some("0:0:"));
        assert_eq!(hints.get(partition).as_deref(), Some("1:1:"));
        hints.reached(partition, Some("1:1:"));
        assert_eq!(hints.get(partition).as_deref(), Some("3:3:"));
        hints.reached(partition, Some("3:3:"));
        assert_eq!(hints.get(partition), None);
    }
}
