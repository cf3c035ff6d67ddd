//! The position: the places of all streams as one text, in words of which core knows nothing.

use std::fmt::Write as _;

use iobox_core::{Error, Result, source::Position};

use super::{entry::EntryId, place::Place};

/// What every position of this source starts with.
const MARK: &str = "redis";
/// What is written for a count that is not known.
const UNKNOWN: &str = "-";
/// The most bytes of a place without its key: a blank, an id, a count, a time, a round, and `/`
/// behind each.
const PLACE_MAX: usize = 1 + EntryId::TEXT_MAX + 20 + 20 + 5 + 4;

/// Refuses so many streams, or such long keys, that their places might not fit.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid), with both sizes.
pub(super) fn check<'a>(keys: impl Iterator<Item = &'a str>) -> Result<()> {
    let bytes: usize = MARK.len() + keys.map(|key| key.len() + PLACE_MAX).sum::<usize>();
    if bytes > Position::BYTES_MAX {
        return Err(Error::invalid(format!(
            "the position of a source with these streams may need {bytes} bytes; at most {} are \
             allowed: read fewer streams, or give a part of them to a source of its own",
            Position::BYTES_MAX
        )));
    }
    Ok(())
}

/// Writes the places of the streams that are read, and behind them as many of the others as fit.
pub(super) fn write<'a>(
    places: impl Iterator<Item = (&'a str, Place)>,
    others: &[(String, Place)],
) -> Result<Position> {
    let mut text = MARK.to_owned();
    for (key, place) in places {
        push(&mut text, key, place);
    }
    for (key, place) in others {
        let end = text.len();
        push(&mut text, key, *place);
        if text.len() > Position::BYTES_MAX {
            text.truncate(end);
        }
    }
    Position::new(text)
}

fn push(text: &mut String, key: &str, place: Place) {
    let Place {
        at,
        added,
        first,
        round,
    } = place;
    // Writing to a string does not fail.
    let _ = match added {
        Some(added) => write!(text, " {at}/{added}/{first}/{round}/{key}"),
        None => write!(text, " {at}/{UNKNOWN}/{first}/{round}/{key}"),
    };
}

/// Reads the places of a position, by key.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid) when another kind of source wrote it.
pub(super) fn read(position: &Position) -> Result<Vec<(String, Place)>> {
    let mut parts = position.as_str().split(' ');
    let places = (parts.next() == Some(MARK))
        .then(|| parts.map(place).collect::<Option<Vec<_>>>())
        .flatten();
    places.ok_or_else(|| {
        Error::invalid(
            "the position of this source was not written by a Redis source: give the source another \
             name",
        )
    })
}

fn place(part: &str) -> Option<(String, Place)> {
    let mut parts = part.splitn(5, '/');
    let place = Place {
        at: parts.next()?.parse().ok()?,
        added: match parts.next()? {
            UNKNOWN => None,
            count => Some(count.parse().ok()?),
        },
        first: parts.next()?.parse().ok()?,
        round: parts.next()?.parse().ok()?,
    };
    Some((parts.next()?.to_owned(), place))
}

#[cfg(test)]
mod tests {
    use iobox_testkit::hostile;

    use super::*;

    fn places() -> Vec<(String, Place)> {
        let widest = Place {
            at: format!("{0}-{0}", u64::MAX).parse().expect("an id"),
            added: Some(u64::MAX),
            first: u64::MAX,
            round: u16::MAX,
        };
        vec![
            ("iobox:a/b".to_owned(), Place::default()),
            ("iobox:c".to_owned(), widest),
        ]
    }

    fn written(places: &[(String, Place)], others: &[(String, Place)]) -> Position {
        let places = places.iter().map(|(key, place)| (key.as_str(), *place));
        write(places, others).expect("a position")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let position = written(&places(), &[]);
        let widest = format!("{0}-{0}/{0}/{0}/65535", u64::MAX);
        let text = format!("redis 0-0/-/0/0/iobox:a/b {widest}/iobox:c");
        assert_eq!(position.as_str(), text);
        assert_eq!(read(&position).expect("places"), places());
    }

    #[test]
    fn what_passes_the_check_always_fits() {
        let widest = places()[1].1;
        let key = "k".repeat(37);
        let mut all: Vec<(String, Place)> = Vec::new();
        loop {
            all.push((key.clone(), widest));
            if check(all.iter().map(|(key, _)| key.as_str())).is_err() {
                break;
            }
            written(&all, &[]);
        }
        let error = check(all.iter().map(|(key, _)| key.as_str()));
        let error = error.expect_err("too many").to_string();
        assert!(error.contains("at most 8192 are allowed"), "{error}");
        let fits = all.len() - 1;
        assert_eq!(fits, (8_192 - 5) / (37 + PLACE_MAX));
    }

    #[test]
    fn streams_that_are_not_read_any_more_stay_while_there_is_room() {
        let position = written(&places()[..1], &places()[1..]);
        assert_eq!(read(&position).expect("places"), places());
        let long = ("k".repeat(200), places()[1].1);
        let others = vec![long; 64];
        let position = written(&places(), &others);
        let kept = read(&position).expect("places").len();
        assert_eq!(kept, 2 + (8_192 - position_bytes(2)) / (200 + PLACE_MAX));
    }

    fn position_bytes(count: usize) -> usize {
        written(&places()[..count], &[]).as_str().len()
    }

    #[test]
    fn another_position_is_refused() {
        for text in ["17", "redis 1", "redis 1-1/2/3/4", "redis 1-1/a/3/4/k"] {
            let position = Position::new(text).expect("a position");
            let error = read(&position).expect_err(text).to_string();
            assert!(error.contains("another name"), "{error}");
        }
    }

    #[test]
    fn a_mangled_position_is_read_or_refused() {
        let whole = written(&places(), &[]);
        for text in hostile::mangled(whole.as_str().as_bytes(), 7, 5_000) {
            let text = String::from_utf8_lossy(&text).into_owned();
            if let Ok(position) = Position::new(text)
                && let Err(error) = read(&position)
            {
                assert!(hostile::is_plain(&error.to_string()), "{error}");
            }
        }
    }
}
