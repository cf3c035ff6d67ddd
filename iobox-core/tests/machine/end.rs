//! The end of a run: what must have become of every message.

use std::collections::BTreeSet;

use iobox_core::store::State;

use crate::{plan::Nature, world::World};

impl World {
    /// Whether every message came to its end, or waits behind one that did not and may not.
    pub(crate) fn is_over(&self) -> bool {
        self.store.rows.len() == self.plan.letters.len() && self.left().is_empty()
    }

    /// The messages that should have come to their end and have not.
    pub(crate) fn left(&self) -> Vec<String> {
        let endless = |id: &str| self.nature(id) == Nature::Breaks;
        let halted: BTreeSet<_> = self
            .store
            .rows
            .values()
            .filter(|row| endless(row.id()) || (row.state == State::Dead && row.halts))
            .filter_map(|row| row.key())
            .collect();
        self.store
            .rows
            .values()
            .filter(|row| row.is_open() || row.state == State::Waiting)
            .filter(|row| !endless(row.id()) && !row.key().is_some_and(|key| halted.contains(key)))
            .map(|row| format!("{row:?}"))
            .collect()
    }

    /// What must hold at the end.
    pub(crate) fn check_end(&self) {
        for row in self.store.rows.values() {
            let id = row.id();
            match row.state {
                State::Done => {
                    assert!(self.watch.is_taken(id), "{id} is done and nobody took it");
                    assert!(row.attempt > 0, "{id} is done without an attempt");
                }
                State::Dead => {
                    let bad = matches!(
                        self.nature(id),
                        Nature::Rejected | Nature::Damaged | Nature::Deadly
                    );
                    assert!(
                        bad || self.watch.may_die.contains(id),
                        "{id} died innocently: {row:?}"
                    );
                }
                _ => {}
            }
        }
    }
}
