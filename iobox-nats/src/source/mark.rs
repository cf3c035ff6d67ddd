//! The mark: which entry of which stream was read last, and with which filter.

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
    /// The hash of the filter that entries were read with: what another one lets through was not read.
    /// None in the positions of earlier versions.
    pub(super) filter: Option<u64>,
    /// Up to here a number that is missing tells nothing: with another filter its entry may have been
    /// read, and acked.
    pub(super) uncounted: u64,
}

impl Mark {
    /// In front of a whole stream.
    pub(super) const fn front(created: i128, filter: u64) -> Self {
        Self {
            created,
            sequence: 0,
            taken: 0,
            filter: Some(filter),
            uncounted: 0,
        }
    }

    /// Whether an entry is this one or one before it. It was read only if the filter is the same.
    pub(super) const fn covers(&self, sequence: u64, taken: u64) -> bool {
        sequence <= self.sequence && taken <= self.taken
    }

    /// How many entries are missing between this one and the next.
    pub(super) const fn missing(&self, next: u64) -> u64 {
        let known = if self.uncounted > self.sequence {
            self.uncounted
        } else {
            self.sequence
        };
        next.saturating_sub(1).saturating_sub(known)
    }

    /// As it is stored: `<created>/<sequence>/<taken>/<filter>`, the last in 16 hexadecimal digits, and
    /// `/<uncounted>` before that is reached.
    pub(super) fn position(self) -> Result<Position> {
        let mut text = format!("{}/{}/{}", self.created, self.sequence, self.taken);
        if let Some(filter) = self.filter {
            text = format!("{text}/{filter:016x}");
            if self.uncounted > self.sequence {
                text = format!("{text}/{}", self.uncounted);
            }
        }
        Position::new(text)
    }

    /// Reads what [`position`](Self::position) wrote, or an earlier version, without the filter.
    pub(super) fn read(position: &Position) -> Result<Self> {
        let mut parts = position.as_str().split('/');
        let mut read = || {
            let mark = Self {
                created: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
                taken: parts.next()?.parse().ok()?,
                filter: match parts.next() {
                    Some(digits) => Some(hash(digits)?),
                    None => None,
                },
                uncounted: match parts.next() {
                    Some(digits) => digits.parse().ok()?,
                    None => 0,
                },
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

/// Reads exactly what [`Mark::position`] writes for a hash.
fn hash(digits: &str) -> Option<u64> {
    let hash = u64::from_str_radix(digits, 16).ok()?;
    (format!("{hash:016x}") == digits).then_some(hash)
}

#[cfg(test)]
mod tests {
    use iobox_core::ErrorKind;
    use iobox_testkit::hostile;

    use super::*;

    #[test]
    fn a_mark_comes_back() {
        for (created, sequence, taken) in [(0, 0, 0), (1_700_000_000_123_456_789, u64::MAX, 1)] {
            for (filter, uncounted) in [(None, 0), (Some(0), 0), (Some(0xAB), 0)] {
                let mark = Mark {
                    created,
                    sequence,
                    taken,
                    filter,
                    uncounted,
                };
                let position = mark.position().expect("a position");
                assert_eq!(Mark::read(&position).expect("a mark"), mark);
            }
        }
    }

    #[test]
    fn the_longest_position_is_far_from_the_bound() {
        let mark = Mark {
            created: i128::MIN,
            sequence: u64::MAX - 1,
            taken: u64::MAX,
            filter: Some(u64::MAX),
            uncounted: u64::MAX,
        };
        let position = mark.position().expect("a position");
        assert!(position.as_str().len() < 128, "{position}");
        assert_eq!(Mark::read(&position).expect("a mark"), mark);
    }

    #[test]
    fn what_does_not_count_is_stored_until_it_is_passed() {
        let mut mark = Mark::front(1, 0xAB);
        mark.uncounted = 7;
        let text = |mark: Mark| mark.position().expect("a position").to_string();
        assert_eq!(text(mark), "1/0/0/00000000000000ab/7");
        assert_eq!(
            (mark.missing(5), mark.missing(8), mark.missing(10)),
            (0, 0, 2)
        );
        mark.sequence = 7;
        assert_eq!(text(mark), "1/7/0/00000000000000ab");
        mark.sequence = 9;
        assert_eq!(
            (mark.missing(1), mark.missing(10), mark.missing(12)),
            (0, 0, 2)
        );
    }

    #[test]
    fn a_position_of_an_earlier_version_has_no_filter() {
        let position = Position::new("1/2/3").expect("a position");
        assert_eq!(Mark::read(&position).expect("a mark").filter, None);
        let position = Position::new("1/2/3/00000000000000ab").expect("a position");
        assert_eq!(Mark::read(&position).expect("a mark").filter, Some(0xAB));
    }

    #[test]
    fn a_position_of_something_else_is_corrupt() {
        for text in [
            "17",
            "1/7",
            "1/7/",
            "/1/7",
            "a/1/1",
            "1/a/1",
            "1/-1/1",
            "1/2/3/4",
            "1/2/3/",
            "1/2/3/+0000000000000ab",
            "1/2/3/00000000000000AB",
            "1/2/3/000000000000000ab",
            "1/2/3/00000000000000gh",
            "1/2/3/00000000000000ab/",
            "1/2/3/00000000000000ab/x",
            "1/2/3/00000000000000ab/5/6",
        ] {
            let position = Position::new(text).expect("a position");
            let error = Mark::read(&position).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_mangled_position_is_read_or_refused() {
        let seed = b"1700000000123456789/42/1700000000123456789/af63bd4c8601b7df/77";
        for text in hostile::mangled(seed, 7, 5_000) {
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
            filter: None,
            uncounted: 0,
        };
        assert!(mark.covers(5, 100) && mark.covers(3, 90));
        assert!(!mark.covers(6, 100) && !mark.covers(5, 101) && !mark.covers(1, 101));
    }
}
