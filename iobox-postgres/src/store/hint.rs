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

    /// The cursor moved to `snapshot`, or beyond it. One that is no hint any more was reached by a
    /// settlement that was quicker.
    pub(super) fn reached(&self, partition: Partition, snapshot: &str) {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pair) = pairs.remove(&partition) else {
            return;
        };
        let left = if pair.latest.as_deref() == Some(snapshot) {
            None
        } else if pair.oldest == snapshot {
            pair.latest.map(|latest| Pair {
                oldest: latest,
                latest: None,
            })
        } else {
            Some(pair)
        };
        pairs.extend(left.map(|pair| (partition, pair)));
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
        hints.reached(partition, "0:0:");
        assert_eq!(hints.get(partition).as_deref(), Some("1:1:"));
        hints.reached(partition, "1:1:");
        assert_eq!(hints.get(partition).as_deref(), Some("3:3:"));
        hints.reached(partition, "3:3:");
        assert_eq!(hints.get(partition), None);
        for snapshot in ["4:4:", "5:5:"] {
            hints.note(&parts, snapshot);
        }
        // What is reached with the latest is reached with the oldest.
        hints.reached(partition, "5:5:");
        assert_eq!(hints.get(partition), None);
    }
}
