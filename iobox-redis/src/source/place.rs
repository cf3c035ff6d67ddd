//! The place: how far one stream was read, and what became of the stream since.

use super::{entry::EntryId, look::Look};

/// How far a stream was read, with what tells another stream of its name apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The last entry that was read.
    pub(super) at: EntryId,
    /// How many entries the stream had ever got up to there, if that is known.
    pub(super) added: Option<u64>,
    /// The milliseconds of the first entry that it held when it was looked at, 0 for none.
    pub(super) first: u64,
    /// How often the stream was made anew since it is read.
    pub(super) round: u16,
}

/// What became of a stream since its place was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is the same and goes on.
    Same,
    /// It is gone; whatever comes under its name is another one.
    Gone,
    /// Another one has its name, and is read from its beginning.
    Anew,
    /// It is the same, but has forgotten its last entries; it is read on behind those that it has.
    Forgot,
    /// It has forgotten entries and got others; it is read again from its beginning.
    Rewound,
}

impl Place {
    /// Passes over an entry that was read.
    pub(super) fn pass(&mut self, id: EntryId) {
        self.at = id;
        self.added = self.added.map(|added| added.saturating_add(1));
    }

    /// Follows the stream to what the server tells of it now, `None` if it is not there. Tells what
    /// became of it, and how many entries were certainly removed before they were read.
    pub(super) fn follow(&mut self, look: Option<&Look>) -> (Fate, u64) {
        let Some(look) = look else {
            return (self.leave(), 0);
        };
        if look.added.is_none() {
            // The server does not count, and would refuse a count with the group's place: what was
            // counted since the stream was missing is of no use.
            self.added = None;
        }
        let fate = self.compare(look);
        match fate {
            Fate::Same | Fate::Gone => {}
            Fate::Forgot => (self.at, self.added) = (look.last, look.added),
            Fate::Rewound => (self.at, self.added) = (EntryId::ZERO, look.removed()),
            Fate::Anew => {
                (self.at, self.added) = (EntryId::ZERO, look.removed());
                self.round = self.round.saturating_add(1);
            }
        }
        self.first = look.first.map_or(0, |first| first.ms);
        let lost = match fate {
            Fate::Same => self.skip(look),
            _ => 0,
        };
        (fate, lost)
    }

    /// Whether another stream has the name now, so that entries behind the place are that one's.
    pub(super) fn is_of_another(&self, look: &Look) -> bool {
        self.compare(look) == Fate::Anew
    }

    /// Forgets a stream that is not there.
    fn leave(&mut self) -> Fate {
        if self.at == EntryId::ZERO {
            self.added = Some(0);
            return Fate::Same;
        }
        *self = Self {
            added: Some(0),
            round: self.round.saturating_add(1),
            ..Self::default()
        };
        Fate::Gone
    }

    /// Whether the stream can be the one that was read.
    fn compare(&self, look: &Look) -> Fate {
        let fewer = |count: Option<u64>| {
            self.added
                .zip(count)
                .is_some_and(|(added, now)| now < added)
        };
        let is_back = look.last < self.at;
        // What was read is counted among what was removed if nothing of it is there.
        let contradicts = is_back
            || fewer(look.added)
            || (self.holds_nothing_read(look) && fewer(look.removed()));
        if !contradicts {
            return Fate::Same;
        }
        // A clock gives no time twice: the first entry is still the same.
        let is_same = look
            .first
            .and_then(EntryId::clock)
            .is_some_and(|first| first == self.first);
        match (is_same, is_back) {
            (false, _) => Fate::Anew,
            (true, true) => Fate::Forgot,
            (true, false) => Fate::Rewound,
        }
    }

    /// Counts what was removed before it was read, as soon as that can be told, and passes over it.
    fn skip(&mut self, look: &Look) -> u64 {
        let up_to = if self.holds_nothing_read(look) {
            look.removed()
        } else if self.at >= look.last {
            look.added
        } else {
            return 0;
        };
        let lost = match (self.added, up_to) {
            (Some(added), Some(up_to)) => up_to.saturating_sub(added),
            // No count, but what was not read is gone.
            _ if self.at == EntryId::ZERO => 0,
            _ => u64::from(
                look.deleted.is_some_and(|deleted| deleted > self.at)
                    || (look.length == 0 && look.last > self.at),
            ),
        };
        if look.length == 0 {
            self.at = look.last;
        }
        self.added = up_to;
        lost
    }

    fn holds_nothing_read(&self, look: &Look) -> bool {
        look.first.is_none_or(|first| first > self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn id(ms: u64) -> EntryId {
        format!("{ms}-0").parse().expect("an id")
    }

    /// A stream of this many ever added entries, of which those from `first` to `last` are there.
    fn look(first: u64, last: u64, added: u64) -> Look {
        let length = (last + 1).saturating_sub(first);
        Look {
            last: id(NOW + last),
            length,
            first: (length > 0).then(|| id(NOW + first)),
            added: Some(added),
            deleted: Some(EntryId::ZERO),
            bytes: 0,
        }
    }

    /// The place behind entry `at` of such a stream.
    fn place(at: u64, first: u64) -> Place {
        Place {
            at: id(NOW + at),
            added: Some(at),
            first: NOW + first,
            round: 0,
        }
    }

    #[test]
    fn a_stream_that_goes_on_keeps_its_place() {
        for now in [look(1, 5, 5), look(1, 9, 9), look(6, 9, 9), look(10, 9, 9)] {
            let mut at = place(5, 1);
            assert_eq!(at.follow(Some(&now)).0, Fate::Same, "{now:?}");
        }
    }

    #[test]
    fn what_was_trimmed_before_it_was_read_is_counted_once() {
        let mut at = place(5, 1);
        assert_eq!(at.follow(Some(&look(9, 10, 10))), (Fate::Same, 3));
        assert_eq!(at.follow(Some(&look(9, 10, 10))), (Fate::Same, 0));
        at.pass(id(NOW + 9));
        at.pass(id(NOW + 10));
        assert_eq!(at.added, Some(10));
        assert_eq!(at.follow(Some(&look(10, 10, 10))), (Fate::Same, 0));
        assert_eq!(at.follow(Some(&look(13, 12, 12))), (Fate::Same, 2));
        assert_eq!(at.follow(Some(&look(13, 12, 12))), (Fate::Same, 0));
    }

    #[test]
    fn what_was_deleted_in_the_middle_is_counted_at_the_end() {
        let mut at = place(5, 1);
        let now = Look {
            length: 8,
            deleted: Some(id(NOW + 8)),
            ..look(1, 10, 10)
        };
        assert_eq!(at.follow(Some(&now)), (Fate::Same, 0));
        for ms in [6, 7, 10] {
            at.pass(id(NOW + ms));
        }
        assert_eq!(at.follow(Some(&now)), (Fate::Same, 2));
        assert_eq!(at.follow(Some(&now)), (Fate::Same, 0));
    }

    #[test]
    fn what_was_trimmed_before_a_stream_was_first_seen_is_not_lost() {
        let mut at = Place::default();
        assert_eq!(at.follow(Some(&look(9, 10, 10))), (Fate::Same, 0));
        assert_eq!(at.follow(Some(&look(10, 10, 10))), (Fate::Same, 1));
        let mut at = Place::default();
        assert_eq!(at.follow(None), (Fate::Same, 0));
        assert_eq!(at.follow(Some(&look(9, 10, 10))), (Fate::Same, 8));
    }

    #[test]
    fn without_a_count_a_certain_loss_is_one() {
        let old = |now: Look| Look {
            added: None,
            deleted: None,
            ..now
        };
        let mut at = Place {
            added: None,
            ..place(5, 1)
        };
        assert_eq!(at.follow(Some(&old(look(9, 10, 0)))), (Fate::Same, 0));
        assert_eq!(at.follow(Some(&old(look(11, 10, 0)))), (Fate::Same, 1));
        assert_eq!(at.follow(Some(&old(look(11, 10, 0)))), (Fate::Same, 0));
    }

    #[test]
    fn a_server_that_does_not_count_leaves_no_count() {
        let mut at = Place::default();
        assert_eq!(at.follow(None), (Fate::Same, 0));
        at.pass(id(NOW + 1));
        at.pass(id(NOW + 2));
        let now = Look {
            added: None,
            deleted: None,
            ..look(1, 3, 0)
        };
        assert_eq!(at.follow(Some(&now)), (Fate::Same, 0));
        assert_eq!(at.added, None);
    }

    #[test]
    fn a_stream_with_lower_ids_or_fewer_entries_is_another_one() {
        let remade = [
            look(0, 3, 3),
            // Its ids are higher, but it has got fewer entries.
            look(6, 8, 3),
            // It has got as many, but what was read cannot be among them.
            look(8, 12, 5),
        ];
        for now in remade {
            let mut at = Place {
                first: NOW - 9,
                ..place(5, 1)
            };
            assert_eq!(at.follow(Some(&now)), (Fate::Anew, 0), "{now:?}");
            assert_eq!((at.at, at.round), (EntryId::ZERO, 1));
            assert_eq!(at.follow(Some(&now)), (Fate::Same, 0), "{now:?}");
        }
        let mut at = place(5, 1);
        assert_eq!(at.follow(None), (Fate::Gone, 0));
        assert_eq!((at.at, at.added, at.round), (EntryId::ZERO, Some(0), 1));
        assert_eq!(at.follow(None), (Fate::Same, 0));
    }

    #[test]
    fn ids_that_no_clock_made_prove_nothing() {
        let mut at = Place {
            at: id(5),
            added: Some(5),
            first: 1,
            round: 0,
        };
        let now = Look {
            last: id(3),
            length: 3,
            first: Some(id(1)),
            added: Some(3),
            ..Look::default()
        };
        assert_eq!(at.follow(Some(&now)), (Fate::Anew, 0));
    }

    #[test]
    fn a_server_that_forgot_the_end_of_a_stream_is_read_on_from_what_it_has() {
        let mut at = place(9, 1);
        assert_eq!(at.follow(Some(&look(1, 7, 7))), (Fate::Forgot, 0));
        assert_eq!((at.at, at.added, at.round), (id(NOW + 7), Some(7), 0));
        let mut at = place(9, 1);
        assert_eq!(at.follow(Some(&look(1, 12, 8))), (Fate::Rewound, 0));
        assert_eq!((at.at, at.round), (EntryId::ZERO, 0));
    }
}
