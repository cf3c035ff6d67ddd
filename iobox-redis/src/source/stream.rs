//! The stream: its key at the server, and the topic that it holds.

use iobox_core::{Error, Result, message::Topic};

use super::entry::EntryId;

/// The longest key, in bytes; with an entry's id and a round it is the id of a message.
const KEY_MAX: usize = 200;

/// A stream that a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) key: String,
    pub(super) topic: Topic,
}

impl Stream {
    /// Checks key and topic.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the bound.
    pub(super) fn new(key: String, topic: &str) -> Result<Self> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Error::invalid(format!(
                "key of a stream has {} bytes; it needs 1 to {KEY_MAX}",
                key.len()
            )));
        }
        // It stands between blanks in a position.
        if let Some(at) = key.find(|c: char| !c.is_ascii_graphic()) {
            return Err(Error::invalid(format!(
                "key of a stream has a character at byte {at} that is not printable ASCII without \
                 blanks"
            )));
        }
        let topic = Topic::new(topic)?;
        Ok(Self { key, topic })
    }

    /// The id of a message that has none but its place. A stream that was made anew may give ids of
    /// entries again, and counts them as another round.
    pub(super) fn id_of(&self, id: EntryId, round: u16) -> String {
        match round {
            0 => format!("{}/{id}", self.key),
            _ => format!("{}/{id}/{round}", self.key),
        }
    }
}

/// The longest id fits.
const _: () = assert!(KEY_MAX + 1 + EntryId::TEXT_MAX + 1 + 5 <= 255);

#[cfg(test)]
mod tests {
    use iobox_core::message::MessageId;

    use super::*;

    #[test]
    fn the_id_of_every_entry_is_one_of_a_message() {
        let longest = Stream::new("k".repeat(KEY_MAX), "t").expect("a stream");
        let id = format!("{0}-{0}", u64::MAX).parse().expect("an id");
        MessageId::new(longest.id_of(id, u16::MAX)).expect("an id");
        let one = |round| longest.id_of(id, round);
        assert!(one(0) != one(1) && one(1) != one(2));
    }

    #[test]
    fn keys_are_checked() {
        for (key, says) in [
            (String::new(), "has 0 bytes"),
            ("k".repeat(KEY_MAX + 1), "has 201 bytes"),
            ("a b".to_owned(), "at byte 1"),
            ("ä".to_owned(), "at byte 0"),
        ] {
            let error = Stream::new(key, "t").expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
