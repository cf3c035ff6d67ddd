//! What befalls processes, and what must be left at the end.

use std::collections::BTreeSet;

use iobox_core::{dispatch::Time, store::State};

use super::{Job, World};
use crate::{
    plan::{Act, Nature},
    rig::ms,
};

impl World {
    pub(super) fn crash(&mut self, index: usize) {
        if self.nodes[index].machine.take().is_some() {
            // Whoever ran alone is taken for the cause.
            let rows = self
                .store
                .rows
                .values()
                .filter(|row| row.suspect && row.crashes > 0);
            self.watch
                .may_die
                .extend(rows.map(|row| row.id().to_owned()));
            self.watch.ended(index);
            self.nodes[index].life += 1;
            self.nodes[index].draining = None;
            self.schedule(self.now + ms(100), Job::Start(index));
        }
    }

    pub(super) fn act(&mut self, act: Act) -> Vec<usize> {
        let count = self.nodes.len();
        match act {
            Act::Crash(index) => self.crash(index % count),
            Act::Freeze(index, time) => self.nodes[index % count].frozen = self.now + ms(time),
            Act::BrokerDown(time) => self.broker_down = self.now + ms(time),
            Act::StoreJump(by) => {
                self.shift += ms(by);
                self.watch.overlap = true;
            }
            Act::Drain(index) => {
                let node = &mut self.nodes[index % count];
                let frozen = node.frozen > self.now;
                if let Some(machine) = node.machine.as_mut().filter(|_| !frozen) {
                    machine.drain(Time::at(self.now));
                    node.draining.get_or_insert(self.now);
                    return vec![index % count];
                }
            }
        }
        Vec::new()
    }

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
                State::Done => assert!(self.watch.is_taken(id), "{id} is done and nobody took it"),
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
