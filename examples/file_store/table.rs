//! The table: everything that the store knows, and the changes that it is made of.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    time::Duration,
};

use iobox::{message::Origin, partition::Partition, store::Epoch};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    row::{Place, Row, Status},
    slip::Slip,
};

/// What a program must know to open the file.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Born {
    pub(crate) version: u32,
    pub(crate) origin: u128,
    pub(crate) partitions: u16,
}

/// Who owns a partition.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) owner: Option<u128>,
    pub(crate) epoch: i64,
    /// Whether its last owner but one may have died executing.
    pub(crate) abandoned: bool,
}

/// A registered instance.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) started: Duration,
    pub(crate) expires: Duration,
    pub(crate) in_flight: u32,
}

/// A step from one state of the table to the next; a transaction is a list of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    Born(Born),
    /// A row that is new, or has other content.
    Row(Row),
    Status(Place, Status),
    Purged(Place),
    Forgotten(String),
    Slot(u8, Slot),
    Member(u128, Member),
    Left(u128),
}

/// The state that the lines of the journal add up to.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) slip: Slip,
    pub(crate) born: Option<Born>,
    pub(crate) rows: BTreeMap<Place, Row>,
    /// Where the message of each id is or was, and when it was enqueued.
    pub(crate) ids: HashMap<String, (Place, Duration)>,
    pub(crate) slots: BTreeMap<u8, Slot>,
    pub(crate) members: BTreeMap<u128, Member>,
    pub(crate) last_seq: i64,
    pub(crate) last_replay: i64,
}

impl Table {
    pub(crate) fn new(slip: Slip) -> Self {
        Self {
            slip,
            born: None,
            rows: BTreeMap::new(),
            ids: HashMap::new(),
            slots: BTreeMap::new(),
            members: BTreeMap::new(),
            last_seq: 0,
            last_replay: 0,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::new(Uuid::from_u128(self.born.map_or(0, |born| born.origin)))
    }

    /// The rows of a partition, oldest first.
    pub(crate) fn rows_of(&self, partition: Partition) -> impl Iterator<Item = &Row> {
        let partition = partition.number();
        let range = (partition, i64::MIN)..=(partition, i64::MAX);
        self.rows.range(range).map(|(_, row)| row)
    }

    pub(crate) fn row_of(&self, id: &str) -> Option<&Row> {
        let (place, _) = self.ids.get(id)?;
        self.rows.get(place)
    }

    /// The fence: whether the partition is held under `epoch` at this moment. Since a transaction has
    /// the table for itself, the answer holds until its end.
    pub(crate) fn is_held(&self, partition: Partition, epoch: Epoch) -> bool {
        self.slip == Slip::NoFence
            || self
                .slots
                .get(&partition.number())
                .is_some_and(|slot| slot.owner.is_some() && slot.epoch == epoch.0)
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Born(born) => {
                self.born = Some(*born);
                let numbers = (0..=u8::MAX).take(usize::from(born.partitions));
                self.slots = numbers.map(|number| (number, Slot::default())).collect();
            }
            Change::Row(row) => {
                self.last_seq = self.last_seq.max(row.place.1);
                self.ids
                    .insert(row.id.clone(), (row.place, row.enqueued_at));
                self.rows.insert(row.place, row.clone());
            }
            Change::Status(place, status) => {
                self.last_replay = self.last_replay.max(status.replay.unwrap_or(0));
                if let Some(row) = self.rows.get_mut(place) {
                    row.status = status.clone();
                }
            }
            Change::Purged(place) => {
                let row = self.rows.remove(place);
                if let Some(row) = row.filter(|_| self.slip == Slip::ForgetsIds) {
                    self.ids.remove(&row.id);
                }
            }
            Change::Forgotten(id) => {
                self.ids.remove(id);
            }
            Change::Slot(number, slot) => {
                self.slots.insert(*number, *slot);
            }
            Change::Member(id, member) => {
                self.members.insert(*id, *member);
            }
            Change::Left(id) => {
                self.members.remove(id);
            }
        }
    }
}

/// A transaction on the table: what it changed so far is seen by it, and noted for the journal.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    table: &'a mut Table,
    pub(crate) changes: Vec<Change>,
}

impl<'a> Edit<'a> {
    pub(crate) const fn new(table: &'a mut Table) -> Self {
        let changes = Vec::new();
        Self { table, changes }
    }

    pub(crate) fn make(&mut self, change: Change) {
        self.table.apply(&change);
        self.changes.push(change);
    }

    /// Changes the status of the row at `place`, if it is there.
    pub(crate) fn set(&mut self, place: Place, change: impl FnOnce(&mut Status)) {
        if let Some(row) = self.table.rows.get(&place) {
            let mut status = row.status.clone();
            change(&mut status);
            self.make(Change::Status(place, status));
        }
    }

    /// A seq that no row has, whatever becomes of this transaction.
    pub(crate) fn next_seq(&mut self) -> i64 {
        self.table.last_seq += 1;
        self.table.last_seq
    }
}

impl Deref for Edit<'_> {
    type Target = Table;

    fn deref(&self) -> &Table {
        self.table
    }
}
