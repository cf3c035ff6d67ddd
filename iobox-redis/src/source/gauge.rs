//! The gauge: how many entries to ask for, since Redis cannot bound what it sends in bytes.

use iobox_core::source::Room;

use super::entry::Entry;

/// The most entries of one reply, unless more streams are read: then one of each.
const ENTRIES_MAX: usize = 256;
/// What an entry is taken for before one was seen, in bytes.
const FIRST_GUESS: usize = 4 * 1024;

/// The size of the entries that came last.
#[derive(Debug)]
pub(super) struct Gauge {
    average: usize,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            average: FIRST_GUESS,
        }
    }
}

impl Gauge {
    /// How many entries of each of `streams` to ask for, so that about as many come as the room
    /// holds.
    pub(super) fn count(&self, room: Room, streams: usize) -> usize {
        let fit = room.bytes / self.average.max(1);
        let all = room.messages.min(fit).min(ENTRIES_MAX);
        (all / streams.max(1)).max(1)
    }

    /// Takes note of what came. It follows larger entries at once and smaller ones slowly.
    pub(super) fn note<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        let sizes = entries.map(Entry::size);
        let (count, bytes) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
        if let Some(average) = bytes.checked_div(count) {
            self.average = average.max((self.average * 3 + average) / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::entry::EntryId, *};

    fn entries(count: usize, bytes: usize) -> Vec<Entry> {
        let entry = Entry {
            id: EntryId::ZERO,
            fields: Some(vec![(Vec::new(), vec![0; bytes])]),
        };
        vec![entry; count]
    }

    #[test]
    fn no_more_is_asked_for_than_the_room_is_likely_to_hold() {
        let room = |messages, bytes| Room {
            messages,
            bytes,
            wait: Duration::ZERO,
        };
        let mut gauge = Gauge::default();
        assert_eq!(gauge.count(room(1_000, 1 << 20), 1), 256);
        assert_eq!(gauge.count(room(100, 1 << 20), 64), 1);
        assert_eq!(gauge.count(room(100, 40_960), 2), 5);
        gauge.note(entries(2, 1 << 20).iter());
        assert_eq!(gauge.count(room(1_000, 8 << 20), 1), 8);
        assert_eq!(gauge.count(room(1_000, 1), 1), 1);
        gauge.note(entries(0, 0).iter());
        for _ in 0..60 {
            gauge.note(entries(1, 100).iter());
        }
        assert_eq!(gauge.count(room(1_000, 8 << 20), 1), 256);
    }
}
