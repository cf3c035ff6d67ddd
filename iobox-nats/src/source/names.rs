//! The names of consumers: which application, source, epoch and opening each is of.

use std::fmt::Write as _;

use iobox_core::{Error, Result, inbox::SourceName, source::Start};

/// Stands between the parts of a name; no part has it.
const BETWEEN: char = '~';
/// The longest name of an application, in bytes.
const APPLICATION_MAX: usize = 64;
/// The longest source name once it is escaped: with all parts a name has at most 255 bytes.
const SOURCE_MAX: usize = 150;

/// The names of the consumers of one source of one application.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// What they have in common.
    common: String,
}

/// Whose turn a consumer serves; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    epoch: i64,
    opening: u32,
}

impl From<&Start> for Turn {
    fn from(start: &Start) -> Self {
        Self {
            epoch: start.epoch.0,
            opening: start.opening,
        }
    }
}

impl Names {
    /// Checks both parts.
    pub(super) fn new(application: &str, source: &SourceName) -> Result<Self> {
        if application.is_empty() || application.len() > APPLICATION_MAX {
            return Err(Error::invalid(format!(
                "application has {} bytes; it needs 1 to {APPLICATION_MAX}",
                application.len()
            )));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if let Some(at) = application.find(|c| !legal(c)) {
            return Err(Error::invalid(format!(
                "application has a character at byte {at} that is not one of A-Z a-z 0-9 - _"
            )));
        }
        let source = escape(source.as_str());
        if source.len() > SOURCE_MAX {
            return Err(Error::invalid(format!(
                "source has {} bytes in the name of a consumer, where a dot or slash takes 3; at \
                 most {SOURCE_MAX} are allowed",
                source.len()
            )));
        }
        Ok(Self {
            common: format!("{application}{BETWEEN}{source}{BETWEEN}"),
        })
    }

    /// The consumer of one turn.
    pub(super) fn of(&self, turn: Turn) -> String {
        format!("{}{}{BETWEEN}{}", self.common, turn.epoch, turn.opening)
    }

    /// The consumer that all instances share.
    pub(super) fn shared(&self) -> String {
        format!("{}shared", self.common)
    }

    /// The turn of a consumer, or none if it is not one of these.
    pub(super) fn turn_of(&self, name: &str) -> Option<Turn> {
        let (epoch, opening) = name.strip_prefix(&self.common)?.split_once(BETWEEN)?;
        Some(Turn {
            epoch: epoch.parse().ok()?,
            opening: opening.parse().ok()?,
        })
    }

    /// Whether a consumer is one of these.
    pub(super) fn has(&self, name: &str) -> bool {
        self.turn_of(name).is_some() || name == self.shared()
    }
}

/// Writes what no name of a consumer may have as `=` and two hexadecimal digits.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '.' | '/') {
            // Writing into a string never fails.
            let _ = write!(escaped, "={:02X}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(application: &str, source: &str) -> Names {
        let source = SourceName::new(source).expect("a name");
        Names::new(application, &source).expect("names")
    }

    const TURN: Turn = Turn {
        epoch: 7,
        opening: 2,
    };

    #[test]
    fn a_name_says_what_it_is_of() {
        let names = names("billing", "shop.eu/orders");
        let name = names.of(TURN);
        assert_eq!(name, "billing~shop=2Eeu=2Forders~7~2");
        assert_eq!(names.turn_of(&name), Some(TURN));
        assert_eq!(names.shared(), "billing~shop=2Eeu=2Forders~shared");
        assert!(names.has(&name) && names.has(&names.shared()));
        assert_eq!(names.turn_of(&names.shared()), None);
    }

    #[test]
    fn a_later_turn_is_greater() {
        let turn = |epoch, opening| Turn { epoch, opening };
        assert!(turn(1, 9) < turn(2, 1) && turn(2, 1) < turn(2, 2) && turn(9, 1) < turn(10, 1));
    }

    #[test]
    fn no_two_sources_share_a_name() {
        let one = names("a-b", "c");
        for other in [names("a", "b-c"), names("a-b", "c-7"), names("a", "b")] {
            assert_eq!(other.turn_of(&one.of(TURN)), None);
            assert!(!other.has(&one.of(TURN)) && !other.has(&one.shared()));
        }
    }

    #[test]
    fn the_parts_are_checked() {
        let source = SourceName::new("a").expect("a name");
        for bad in ["", "a b", "a.b", "a~b", "é", &"x".repeat(65)] {
            assert!(Names::new(bad, &source).is_err(), "{bad}");
        }
        let long = SourceName::new("/".repeat(51)).expect("a name");
        assert!(Names::new("a", &long).is_err());
        let longest = SourceName::new("/".repeat(50)).expect("a name");
        let names = Names::new(&"x".repeat(64), &longest).expect("names");
        let turn = Turn {
            epoch: i64::MIN,
            opening: u32::MAX,
        };
        assert!(names.of(turn).len() <= 255);
    }
}
