//! The judge: holds a constructor against a table.

use std::{
    error,
    panic::{AssertUnwindSafe, catch_unwind},
};

use iobox_core::Error;

use super::{Entry, SECRET, Verdict};

/// Holds a constructor against a table: what is to be taken is taken, what is to be refused is refused
/// with its kind, in a text that names the field and is [plain](is_plain). The constructor may assert on
/// what it made; a panic fails the entry like a wrong verdict.
///
/// # Panics
/// When the constructor does not do as the table says, with every such entry.
pub fn judge<T>(field: &str, entries: &[Entry<T>], construct: impl Fn(&T) -> Result<(), Error>) {
    let mut wrong = Vec::new();
    for entry in entries {
        let judged = catch_unwind(AssertUnwindSafe(|| construct(&entry.input)));
        let complaint = match judged {
            Err(_) => Some(String::from("it panics")),
            Ok(result) => complaint(field, entry.verdict, &result),
        };
        wrong.extend(complaint.map(|what| format!("{}: {what}", entry.name)));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} entries for {field} are judged wrongly:\n{}",
        wrong.len(),
        entries.len(),
        wrong.join("\n")
    );
}

fn complaint(field: &str, verdict: Verdict, result: &Result<(), Error>) -> Option<String> {
    match (verdict, result) {
        (Verdict::Taken, Ok(())) => None,
        (Verdict::Taken, Err(error)) => Some(format!("it is refused: {error}")),
        (Verdict::Refused { .. }, Ok(())) => Some(String::from("it is taken")),
        (Verdict::Refused { kind, says }, Err(error)) => {
            let texts = texts_of(error);
            let whole = texts.join("\n");
            if error.kind() != kind {
                Some(format!("it is refused as {}: {error}", error.kind()))
            } else if !error.to_string().contains(field) {
                Some(format!("the error does not name {field}: {error}"))
            } else if !whole.contains(says) {
                Some(format!("the error does not say {says:?}: {whole}"))
            } else {
                let leak = texts.iter().find(|text| !is_plain(text));
                leak.map(|text| format!("the error repeats what it must not: {text:?}"))
            }
        }
    }
}

/// Every text that an error and its sources show: `Display`, and `Debug` in both forms.
#[must_use]
pub fn texts_of(error: &(dyn error::Error + 'static)) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        texts.push(format!("{error:?}"));
        // Its line ends are the form's own.
        texts.push(format!("{error:#?}").replace('\n', " "));
        next = error.source();
    }
    texts
}

/// Whether a text may be shown on a terminal and kept in a log: it has no control character, nothing
/// that changes the direction of what follows, no line end of Unicode, and not [`SECRET`].
#[must_use]
pub fn is_plain(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.contains(SECRET) && !text.contains(|c: char| c.is_control() || turns(c))
}

#[cfg(test)]
mod tests {
    use iobox_core::ErrorKind;

    use super::*;

    fn refused(text: &str) -> Result<(), Error> {
        Err(Error::invalid(text.to_owned()))
    }

    /// Whether a constructor with this result passes an entry that is to be refused.
    fn passes(kind: ErrorKind, result: &Result<(), Error>) -> bool {
        let entry = Entry::<String>::refused("one", "x", "no colon").as_kind(kind);
        complaint("url", entry.verdict, result).is_none()
    }

    #[test]
    fn each_wrong_answer_is_seen() {
        let invalid = ErrorKind::Invalid;
        assert!(passes(invalid, &refused("url has no colon")));
        assert!(!passes(invalid, &Ok(())));
        assert!(!passes(ErrorKind::Corrupt, &refused("url has no colon")));
        assert!(!passes(invalid, &refused("it has no colon")));
        assert!(!passes(invalid, &refused("url is bad")));
        assert!(!passes(invalid, &refused("url has no colon: s3cr3t")));
        assert!(!passes(invalid, &refused("url has no colon: \u{1b}[0m")));
        let source = Error::invalid("s3cr3t");
        let wrapped = Error::invalid("url has no colon").with_source(source);
        assert!(!passes(invalid, &Err(wrapped)), "a source is shown, too");
        let taken = Verdict::Taken;
        assert!(complaint("url", taken, &Ok(())).is_none());
        assert!(complaint("url", taken, &refused("url")).is_some());
    }

    #[test]
    #[should_panic(expected = "of one: it panics")]
    fn a_panic_is_told_with_its_entry() {
        let entries = [Entry::<String>::taken("of one", "x")];
        judge("url", &entries, |_| panic!("a constructor must not"));
    }

    #[test]
    fn what_a_terminal_obeys_is_not_plain() {
        for bad in [
            "\u{1b}[2J",
            "a\r",
            "a\nb",
            "\u{202e}a",
            "\u{2067}",
            "\u{9b}1m",
            "s3cr3t",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        assert!(is_plain("grüße, 注文, 🚚"));
    }
}
