//! The mark: which entry of which stream was read last.

use iobox_core::{Error, Result, source::Position};

/// An entry of a stream, and what tells the stream from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// When the stream was made, in nanoseconds since 1970.
    pub(super) created: i128,
    pub(super) sequence: u64,
}

impl Mark {
    /// As it is stored: `<created>/<sequence>`.
    pub(super) fn position(self) -> Result<Position> {
        Position::new(format!("{}/{}", self.created, self.sequence))
    }

    /// Reads what [`position`](Self::position) wrote.
    pub(super) fn read(position: &Position) -> Result<Self> {
        let text = position.as_str();
        let parts = text.split_once('/').and_then(|(created, sequence)| {
            Some(Self {
                created: created.parse().ok()?,
                sequence: sequence.parse().ok()?,
            })
        });
        parts.ok_or_else(|| {
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

    use super::*;

    #[test]
    fn a_mark_comes_back() {
        for (created, sequence) in [(0, 0), (1_700_000_000_123_456_789, u64::MAX)] {
            let mark = Mark { created, sequence };
            let position = mark.position().expect("a position");
            assert_eq!(Mark::read(&position).expect("a mark"), mark);
        }
    }

    #[test]
    fn a_position_of_something_else_is_corrupt() {
        for text in ["17", "17/", "/17", "a/1", "1/a", "1/-1", "1/2/3"] {
            let position = Position::new(text).expect("a position");
            let error = Mark::read(&position).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
