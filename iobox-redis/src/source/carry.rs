//! The carry: what was read and has no room in the batch yet.

use std::collections::VecDeque;

use iobox_core::source::{Batch, Room};

use super::{arrival::Arrival, entry::EntryId};

/// An entry that was read, of the stream with this number.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) stream: usize,
    pub(super) id: EntryId,
    pub(super) arrival: Arrival,
}

/// The entries of at most one reply, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Carry(VecDeque<Carried>);

impl Carry {
    pub(super) fn push(&mut self, carried: Carried) {
        self.0.push_back(carried);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts into a batch what has room, and tells of each which one it was.
    pub(super) fn unload(&mut self, load: &mut Load, mut passed: impl FnMut(usize, EntryId)) {
        while let Some(carried) = self.0.pop_front_if(|next| load.takes(next.arrival.size)) {
            passed(carried.stream, carried.id);
            load.add(carried.arrival);
        }
    }
}

/// A batch that is filled.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) batch: Batch,
    room: Room,
    bytes: usize,
}

impl Load {
    pub(super) fn new(room: Room) -> Self {
        Self {
            batch: Batch::default(),
            room,
            bytes: 0,
        }
    }

    /// How many arrivals it has.
    fn len(&self) -> usize {
        self.batch.deliveries.len() + self.batch.refused.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What room is left.
    pub(super) fn room(&self) -> Room {
        Room {
            messages: self.room.messages.saturating_sub(self.len()),
            bytes: self.room.bytes.saturating_sub(self.bytes),
            wait: self.room.wait,
        }
    }

    fn takes(&self, size: usize) -> bool {
        let room = self.room();
        self.is_empty() || (room.messages > 0 && size <= room.bytes)
    }

    fn add(&mut self, arrival: Arrival) {
        self.bytes = self.bytes.saturating_add(arrival.size);
        match arrival.outcome {
            Ok(delivery) => self.batch.deliveries.push(delivery),
            Err(refused) => self.batch.refused.push(refused),
        }
    }
}
