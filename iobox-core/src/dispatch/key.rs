//! The rows in memory of one ordering key.

use std::collections::BTreeSet;

use crate::store::Seq;

/// The share of the buffer that a key starts with, in rows.
const SHARE_FIRST: usize = 64;

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
