//! The mark: which entry of which stream was read last.

use iobox_core::{Error, Result, source::Position};

/// An entry of a stream, and what tells it from others that had its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// When the stream was made, in nanoseconds since 1970: one of the same name that was made later
    /// begins its numbers anew.
    pub(super) created: i128,
    pub(super) sequence: u64,
    /// When the stream took the last entry that was read, in nanoseconds since 1970: a stream that lost
    /// its end in a crash gives its numbers again.
    pub(super) taken: u64,
}

impl Mark {
    /// In front of a whole stream.
    pub(super) const fn front(created: i128) -> Self {
        Self {
            created,
            sequence: 0,
            taken: 0,
        }
    }

    /// Whether an entry is this one or one before it.
    pub(super) const fn covers(&self, sequence: u64, taken: u64) -> bool {
        sequence <= self.sequence && taken <= self.taken
    }

    /// As it is stored: `<created>/<sequence>/<taken>`.
    pub(super) fn position(self) -> Result<Position> {
        Position::new(format!("{}/{}/{}", self.created, self.sequence, self.taken))
    }

    /// Reads what [`position`](Self::position) wrote.
    pub(super) fn read(position: &Position) -> Result<Self> {
        let mut parts = position.as_str().split('/');
        let mut read = || {
            let mark = Self {
                created: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
                taken: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(mark)
        };
        read().ok_or_else(|| {
            Error::corrupt(
                "the stored position is not one of JetStream: was the source of this name one of \
                 another broker? Give this one another name",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use iobox_core::ErrorKind;
    use iobox_testkit::hostile;

    use super::*;

    #[test]
    fn a_mark_comes_back() {
        for (created, sequence, taken) in [(0, 0, 0), (1_700_000_000_123_456_789, u64::MAX, 1)] {
            let mark = Mark {
                created,
                sequence,
                taken,
            };
            let position = mark.position().expect("a position");
            assert_eq!(Mark::read(&position).expect("a mark"), mark);
        }
    }

    #[test]
    fn a_position_of_something_else_is_corrupt() {
        for text in [
            "17", "1/7", "1/7/", "/1/7", "a/1/1", "1/a/1", "1/-1/1", "1/2/3/4",
        ] {
            let position = Position::new(text).expect("a position");
            let error = Mark::read(&position).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_mangled_position_is_read_or_refused() {
        for text in hostile::mangled(b"1700000000123456789/42/1700000000123456789", 7, 5_000) {
            let text = String::from_utf8_lossy(&text).into_owned();
            if let Ok(position) = Position::new(text)
                && let Err(error) = Mark::read(&position)
            {
                assert!(hostile::is_plain(&error.to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_number_that_was_given_again_is_of_another_entry() {
        let mark = Mark {
            created: 1,
            sequence: 5,
            taken: 100,
        };
        assert!(mark.covers(5, 100) && mark.covers(3, 90));
        assert!(!mark.covers(6, 100) && !mark.covers(5, 101) && !mark.covers(1, 101));
    }
}
