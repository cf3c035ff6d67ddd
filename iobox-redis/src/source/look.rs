//! The look: what the server tells of a stream besides its entries.

use iobox_core::Result;
use redis::Value;

use super::entry::{self, EntryId};

/// What `XINFO STREAM` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The highest id that was ever given.
    pub(super) last: EntryId,
    /// How many entries it holds.
    pub(super) length: u64,
    /// The first entry that it holds.
    pub(super) first: Option<EntryId>,
    /// How many entries were ever added; unknown before Redis 7.0.
    pub(super) added: Option<u64>,
    /// The highest id that was deleted by name; unknown before Redis 7.0.
    pub(super) deleted: Option<EntryId>,
    /// The bytes of the first and the last entry, which the server tells along.
    pub(super) bytes: usize,
}

impl Look {
    /// Reads a reply.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when it has another form.
    pub(super) fn read(reply: Value) -> Result<Self> {
        let mut look = Self::default();
        for (name, value) in entry::pairs(reply)? {
            match entry::text(name)?.as_slice() {
                b"last-generated-id" => look.last = entry::id(value)?,
                b"length" => look.length = number(&value)?,
                b"entries-added" => look.added = Some(number(&value)?),
                b"max-deleted-entry-id" => look.deleted = Some(entry::id(value)?),
                b"first-entry" => {
                    let first = entry::entry(value)?;
                    look.bytes += first.as_ref().map_or(0, entry::Entry::size);
                    look.first = first.map(|first| first.id);
                }
                b"last-entry" => look.bytes += entry::entry(value)?.map_or(0, |last| last.size()),
                _ => {}
            }
        }
        Ok(look)
    }

    /// How many entries were added and are not there any more.
    pub(super) fn removed(&self) -> Option<u64> {
        self.added.map(|added| added.saturating_sub(self.length))
    }
}

fn number(value: &Value) -> Result<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| entry::unreadable()),
        _ => Err(entry::unreadable()),
    }
}
