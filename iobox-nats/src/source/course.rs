//! The course: how far an ordered reader is, and whether anything is missing.

use iobox_core::{Error, Result, source::Position};

use super::{mark::Mark, place::Place, pulls::lost};

/// Where an ordered reader is in its stream and in its consumer.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// What is stored already: a work queue delivers it again when it was not acked.
    stored: Mark,
    /// The last entry that was brought, or that is known to be gone.
    last: Mark,
    /// The last delivery of the consumer.
    delivered: u64,
    /// Whether a number that is missing is an entry that was removed.
    total: bool,
    /// Whether what is missing in front of the next entry counts.
    counts: bool,
    /// How many entries were removed, and not told yet.
    removed: u64,
}

impl Course {
    /// A course behind the entry `stored`, of a stream whose first entry is `first`.
    ///
    /// Without a position nothing in front of the first entry counts as removed: it was before the
    /// reader's time.
    pub(super) const fn new(mark: Mark, first: u64, resumes: bool, total: bool) -> Self {
        let before = first.saturating_sub(1);
        let counts = total && resumes;
        Self {
            stored: mark,
            last: Mark {
                sequence: if total && before > mark.sequence {
                    before
                } else {
                    mark.sequence
                },
                ..mark
            },
            delivered: 0,
            total,
            counts,
            removed: if counts { mark.missing(first) } else { 0 },
        }
    }

    /// Notes a delivery; whether it is new.
    pub(super) fn meet(&mut self, place: &Place) -> Result<bool> {
        if place.delivered > 1 {
            return Err(lost(
                "an entry was delivered again, so that the order is broken",
            ));
        }
        if place.consumer != self.delivered + 1 {
            return Err(lost(format!(
                "the consumer is at delivery {}, and {} was the last that came",
                place.consumer, self.delivered
            )));
        }
        self.delivered = place.consumer;
        Ok(!self.stored.covers(place.stream, place.taken))
    }

    /// Notes that an entry is brought; whether its number was given before, to another.
    pub(super) fn bring(&mut self, sequence: u64, taken: u64) -> Result<bool> {
        let again = sequence <= self.last.sequence;
        if again && taken <= self.last.taken {
            return Err(Error::internal(
                "an entry came behind one that is later in the stream",
            ));
        }
        if std::mem::replace(&mut self.counts, self.total) && !again {
            self.removed += self.last.missing(sequence);
        }
        self.last.sequence = sequence;
        self.last.taken = taken;
        Ok(again)
    }

    /// How many entries were removed since this was asked.
    pub(super) const fn take_removed(&mut self) -> u64 {
        std::mem::replace(&mut self.removed, 0)
    }

    /// Whether entries were removed that were not told.
    pub(super) const fn has_removed(&self) -> bool {
        self.removed > 0
    }

    /// The position behind what was brought.
    pub(super) fn position(&self) -> Result<Position> {
        self.last.position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(sequence: u64, first: u64, resumes: bool, total: bool) -> Course {
        let mark = Mark {
            created: 1,
            sequence,
            taken: sequence,
            filter: Some(0xAB),
            uncounted: 0,
        };
        Course::new(mark, first, resumes, total)
    }

    fn place(delivered: u64, stream: u64, consumer: u64) -> Place {
        Place {
            delivered,
            stream,
            consumer,
            taken: stream,
            pending: 0,
        }
    }

    #[test]
    fn what_is_stored_is_known() {
        let mut course = course(5, 4, true, true);
        assert!(!course.meet(&place(1, 4, 1)).expect("known"));
        assert!(!course.meet(&place(1, 5, 2)).expect("known"));
        assert!(course.meet(&place(1, 6, 3)).expect("new"));
    }

    #[test]
    fn a_gap_and_a_repetition_end_the_reading() {
        let mut course = course(0, 1, false, true);
        course.meet(&place(1, 1, 1)).expect("the first");
        course.clone().meet(&place(1, 3, 3)).expect_err("a gap");
        course.clone().meet(&place(2, 2, 2)).expect_err("again");
        course.clone().meet(&place(1, 1, 1)).expect_err("again");
        course.meet(&place(1, 2, 2)).expect("the next");
    }

    #[test]
    fn removed_entries_are_counted_once() {
        let mut course = course(5, 9, true, true);
        let position = course.position().expect("a position");
        assert_eq!(position.as_str(), "1/8/5/00000000000000ab");
        assert_eq!(course.take_removed(), 3);
        course.bring(9, 9).expect("the next");
        assert_eq!(course.take_removed(), 0);
        course.bring(12, 12).expect("the next");
        assert_eq!(course.take_removed(), 2);
        course.bring(12, 12).expect_err("the same");
    }

    #[test]
    fn what_another_filter_may_have_read_does_not_count() {
        let mut mark = Mark::front(1, 0xAB);
        mark.uncounted = 10;
        let mut course = Course::new(mark, 3, true, true);
        assert!(!course.has_removed());
        course.bring(5, 5).expect("the next");
        assert!(!course.has_removed());
        let position = course.position().expect("a position");
        assert_eq!(position.as_str(), "1/5/5/00000000000000ab/10");
        course.bring(12, 12).expect("the next");
        assert_eq!(course.take_removed(), 1);
        course.bring(14, 14).expect("the next");
        assert_eq!(course.take_removed(), 1);
        assert_eq!(Course::new(mark, 13, true, true).take_removed(), 2);
    }

    #[test]
    fn numbers_that_are_given_again_are_new_and_nothing_is_missing() {
        let mut course = course(5, 1, true, true);
        let again = Place {
            taken: 100,
            ..place(1, 2, 1)
        };
        assert!(course.meet(&again).expect("new"));
        assert!(course.bring(2, 100).expect("new"));
        assert_eq!(course.take_removed(), 0);
        assert!(!course.bring(3, 101).expect("the next"));
        assert_eq!(course.take_removed(), 0);
    }

    #[test]
    fn nothing_is_removed_that_was_never_to_be_read() {
        let mut fresh = course(0, 9, false, true);
        assert!(!fresh.has_removed());
        fresh.bring(9, 9).expect("the first");
        assert!(!fresh.has_removed());
        let mut filtered = course(5, 9, true, false);
        filtered.bring(20, 20).expect("the next");
        assert!(!filtered.has_removed());
        let mut empty = course(0, 0, false, true);
        empty.bring(3, 3).expect("the first");
        assert!(!empty.has_removed());
        empty.bring(5, 5).expect("the next");
        assert_eq!(empty.take_removed(), 1);
    }
}
