//! The entry: what stands in a stream under an id, and how replies hold it.

use std::{fmt, str::FromStr};

use iobox_core::{Error, Result};
use redis::Value;

use crate::wire::Field;

/// From here on, the milliseconds of an id are taken for those of a clock: September 2001.
const CLOCK: u64 = 1_000_000_000_000;

/// The id of an entry: milliseconds and a number, which grow within a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct EntryId {
    pub(super) ms: u64,
    seq: u64,
}

impl EntryId {
    /// Before every entry; no entry has it.
    pub(super) const ZERO: Self = Self { ms: 0, seq: 0 };
    /// Behind every entry.
    pub(super) const MAX: Self = Self {
        ms: u64::MAX,
        seq: u64::MAX,
    };
    /// The most bytes of one as text.
    pub(super) const TEXT_MAX: usize = 41;

    /// When it was added, if a clock made the id.
    pub(super) fn clock(self) -> Option<u64> {
        (self.ms >= CLOCK).then_some(self.ms)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, seq) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self {
            ms: number(ms)?,
            seq: number(seq)?,
        })
    }
}

/// An entry as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    /// `None` when the entry was removed after a consumer had been given it.
    pub(super) fields: Option<Vec<Field>>,
}

impl Entry {
    /// The bytes of names and values.
    pub(super) fn size(&self) -> usize {
        let fields = self.fields.iter().flatten();
        fields.map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {} bytes)", self.id, self.size())
    }
}

/// What is said of a reply that has another form than expected.
pub(super) fn unreadable() -> Error {
    Error::unavailable("the reply of Redis cannot be read: is this a Redis server?")
}

/// Reads a text.
pub(super) fn text(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unreadable()),
    }
}

/// Reads an id.
pub(super) fn id(value: Value) -> Result<EntryId> {
    let bytes = text(value)?;
    let text = str::from_utf8(&bytes).map_err(|_| unreadable())?;
    text.parse().map_err(|()| unreadable())
}

/// Reads an entry, or nothing where there is none.
pub(super) fn entry(value: Value) -> Result<Option<Entry>> {
    let parts = match value {
        Value::Nil => return Ok(None),
        value => list(value)?,
    };
    let [at, fields] = <[Value; 2]>::try_from(parts).map_err(|_| unreadable())?;
    let id = id(at)?;
    if fields == Value::Nil {
        return Ok(Some(Entry { id, fields: None }));
    }
    let mut texts = list(fields)?.into_iter();
    let mut fields = Vec::with_capacity(texts.len() / 2);
    while let Some(name) = texts.next() {
        let value = texts.next().ok_or_else(unreadable)?;
        fields.push((text(name)?, text(value)?));
    }
    let fields = Some(fields);
    Ok(Some(Entry { id, fields }))
}

/// Reads entries in their order.
pub(super) fn entries(value: Value) -> Result<Vec<Entry>> {
    let read = list(value)?.into_iter().map(entry);
    let read: Vec<_> = read.collect::<Result<_>>()?;
    Ok(read.into_iter().flatten().collect())
}

/// Reads what a command found in each stream that has something, by key.
pub(super) fn streams(value: Value) -> Result<Vec<(Vec<u8>, Vec<Entry>)>> {
    let pair = |(key, found)| Ok((text(key)?, entries(found)?));
    pairs(value)?.into_iter().map(pair).collect()
}

/// Reads a map, in either version of the protocol.
pub(super) fn pairs(value: Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::Map(pairs) => Ok(pairs),
        Value::Array(items) if items.iter().all(is_list) => {
            let pair = |item| {
                let pair = <[Value; 2]>::try_from(list(item)?).map_err(|_| unreadable())?;
                Ok(pair.into())
            };
            items.into_iter().map(pair).collect()
        }
        Value::Array(items) => {
            let mut items = items.into_iter();
            let mut pairs = Vec::with_capacity(items.len() / 2);
            while let Some(name) = items.next() {
                pairs.push((name, items.next().ok_or_else(unreadable)?));
            }
            Ok(pairs)
        }
        _ => Err(unreadable()),
    }
}

/// Reads a list.
pub(super) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unreadable()),
    }
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::Array(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn ids_are_ordered_as_redis_orders_them() {
        let mut ids: Vec<EntryId> = ["10-0", "9-18446744073709551615", "9-2", "9-10"]
            .map(|text| text.parse().expect("an id"))
            .into();
        ids.sort();
        let texts: Vec<String> = ids.iter().map(EntryId::to_string).collect();
        assert_eq!(texts, ["9-2", "9-10", "9-18446744073709551615", "10-0"]);
        for bad in ["", "1", "1-", "-1", "a-1", "18446744073709551616-0"] {
            bad.parse::<EntryId>().expect_err(bad);
        }
        let longest = EntryId {
            ms: u64::MAX,
            seq: u64::MAX,
        };
        assert_eq!(longest.to_string().len(), EntryId::TEXT_MAX);
    }

    #[test]
    fn an_entry_that_was_removed_has_no_fields() {
        let removed = Value::Array(vec![bulk("1-1"), Value::Nil]);
        let there = vec![bulk("1-2"), Value::Array(vec![bulk("a"), bulk("")])];
        let read = Value::Array(vec![removed, Value::Nil, Value::Array(there)]);
        let read = entries(read).expect("entries");
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].fields, None);
        assert_eq!(read[1].fields, Some(vec![(b"a".to_vec(), Vec::new())]));
    }

    #[test]
    fn a_reply_of_another_form_is_an_error_without_its_content() {
        let odd = Value::Array(vec![bulk("secret")]);
        for value in [bulk("secret"), odd.clone(), Value::Array(vec![odd])] {
            let error = entries(value).expect_err("no entries");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
