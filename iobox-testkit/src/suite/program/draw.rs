//! What a program draws at random.

use std::collections::{BTreeMap, BTreeSet};

use iobox_core::{
    message::MessageId,
    partition::Partition,
    store::{Change, Epoch, Filter, Selection, Seq, Settlement, State},
};

use super::run::{Program, UNIT};
use crate::suite::{
    Harness,
    support::{clear, dead, dead_in_doubt, done, duplicate, key, retry, suspect, unknown},
};

impl<H: Harness> Program<H> {
    pub(super) fn settlement(
        &mut self,
        instance: &BTreeMap<Partition, Epoch>,
    ) -> Option<Settlement> {
        let known = *self.known.get(self.rng.usize(..self.known.len().max(1)))?;
        Some(Settlement {
            partition: known.partition,
            epoch: *instance.get(&known.partition)?,
            seq: known.seq,
            revision: known.revision,
            attempt: self.rng.u32(..6),
            change: self.change(),
        })
    }

    pub(super) fn change(&mut self) -> Change {
        let delay = UNIT * [0, 1, 2, 10][self.rng.usize(..4)];
        match self.rng.u8(..16) {
            0..3 => done(),
            3 => duplicate(),
            4..7 => retry(delay),
            7..10 => unknown(delay, self.rng.bool()),
            10 => dead(self.rng.u8(..4) > 0),
            11 => dead_in_doubt(),
            12 | 13 => suspect(self.rng.u32(..4)),
            _ => clear(self.rng.u32(..4)),
        }
    }

    pub(super) fn key(&mut self) -> String {
        format!("k{}", self.rng.u8(..4))
    }

    pub(super) fn filter(&mut self) -> Filter {
        let states = match self.rng.u8(..4) {
            0 => vec![],
            1 => vec![State::Done, State::Discarded],
            2 => vec![State::Dead, State::Retrying],
            _ => vec![State::Waiting],
        };
        Filter {
            states,
            key: (self.rng.u8(..4) > 0).then(|| key(&self.key())),
            partition: self.rng.bool().then(|| Partition::new(self.rng.u8(..2))),
            ..Filter::default()
        }
    }

    pub(super) fn taken(&self, filter: &Filter) -> BTreeSet<Seq> {
        let rows = self.model.rows.iter().filter(|row| row.matches(filter));
        rows.map(|row| row.seq).collect()
    }

    pub(super) fn some_row(&mut self) -> Option<usize> {
        let count = self.model.rows.len();
        (count > 0).then(|| self.rng.usize(..count))
    }

    pub(super) fn one(&mut self) -> Option<(Selection, BTreeSet<Seq>)> {
        let at = self.some_row()?;
        let row = &self.model.rows[at];
        let id = MessageId::new(&row.id).expect("an id of the store's");
        Some((Selection::One(id), BTreeSet::from([row.seq])))
    }
}
