//! The rows in memory of one ordering key.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{message::OrderingKey, store::Seq};

/// The share of the buffer that a key starts with, in rows.
const SHARE_FIRST: usize = 96;

/// An ordering key behind a hash of it: a map that is ordered by it compares numbers, and text only
/// where two hashes are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hashed {
    hash: u64,
    pub(super) key: OrderingKey,
}

impl Hashed {
    pub(super) fn new(key: OrderingKey) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            key,
        }
    }
}

/// The rows in memory of one key, and how many more it may have.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Key {
    pub(super) rows: BTreeSet<Seq>,
    /// Executions that ended since the share was last adapted.
    pub(super) ended: usize,
    pub(super) share: usize,
    /// Whether the last fetch passed over rows of it, since it had its share.
    pub(super) passed_over: bool,
}

impl Key {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            rows: BTreeSet::new(),
            ended: 0,
            share: SHARE_FIRST.min((capacity / 8).max(1)),
            passed_over: false,
        }
    }

    /// Adapts the share to how fast the key goes, when `all` executions ended since: a key that is slow
    /// keeps little of the buffer, and one that has a part of the pace may have twice that part of it,
    /// so that keys that go alike are not full while there is room.
    pub(super) fn pace(&mut self, all: usize, capacity: usize) {
        let floor = 16.min((capacity / 8).max(1));
        let part = self.ended.saturating_mul(capacity) / all.max(1);
        self.share = (self.ended.max(part) * 2)
            .clamp(floor, (capacity / 8).max(floor))
            .max(self.share / 2);
        self.ended = 0;
    }

    /// Whether rows of it are to be fetched now that one of them goes.
    pub(super) fn runs_low(&self) -> bool {
        self.passed_over && self.rows.len().saturating_sub(1) * 2 <= self.share
    }

    /// Whether it has its share.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= self.share
    }

    /// Whether rows of it that were set aside should come back, when `ahead` of them are back
    /// already and not here yet.
    pub(super) fn wants_more(&self, ahead: usize) -> bool {
        (self.rows.len() + ahead) * 2 <= self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key with this many rows and this share.
    fn key(rows: i64, share: usize) -> Key {
        Key {
            rows: (0..rows).map(Seq).collect(),
            share,
            ..Key::new(800)
        }
    }

    #[test]
    fn a_key_starts_with_an_eighth_of_a_small_buffer_and_96_of_a_large_one() {
        let shares = [1, 15, 80, 767, 4_000].map(|capacity| Key::new(capacity).share);
        assert_eq!(shares, [1, 1, 10, 95, 96]);
    }

    #[test]
    fn the_share_follows_the_pace() {
        // Of 100 executions it had so many; its share was 0 before, of a buffer of 800 rows.
        let paced = |ended: usize| {
            let mut key = key(0, 0);
            key.ended = ended;
            key.pace(100, 800);
            assert_eq!(key.ended, 0, "it is counted anew");
            key.share
        };
        assert_eq!(paced(0), 16, "the least");
        assert_eq!(paced(2), 32, "twice its part of the buffer");
        assert_eq!(paced(5), 80);
        assert_eq!(paced(60), 100, "at most an eighth of the buffer");
        // Of few executions its part says more than its number, and of many less.
        let mut few = key(0, 0);
        few.ended = 20;
        few.pace(1_000, 800);
        assert_eq!(few.share, 40);
    }

    #[test]
    fn a_share_shrinks_by_half_at_a_time_and_a_small_buffer_has_small_ones() {
        let mut slow = key(0, 90);
        slow.pace(100, 800);
        assert_eq!(slow.share, 45);
        let mut small = key(0, 0);
        small.pace(100, 40);
        assert_eq!(small.share, 5);
        let mut tiny = key(0, 0);
        tiny.pace(0, 3);
        assert_eq!(tiny.share, 1);
    }

    #[test]
    fn a_key_that_was_passed_over_runs_low_at_half_its_share() {
        let mut key = key(6, 10);
        key.passed_over = true;
        assert!(key.runs_low(), "one of six goes: five of ten are left");
        key.rows.insert(Seq(6));
        assert!(!key.runs_low());
        key.rows.clear();
        key.passed_over = false;
        assert!(!key.runs_low(), "there is nothing more of it");
    }

    #[test]
    fn it_is_full_with_its_share_and_wants_more_up_to_half_of_it() {
        assert!(!key(9, 10).is_full() && key(10, 10).is_full() && key(11, 10).is_full());
        let wants = |rows, ahead| key(rows, 10).wants_more(ahead);
        assert!(wants(0, 0) && wants(5, 0) && wants(0, 5) && wants(2, 3));
        assert!(!wants(6, 0) && !wants(0, 6) && !wants(3, 3));
    }
}
