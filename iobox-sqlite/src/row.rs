//! The row: how stored columns become a message, and what is said of those that cannot.

use iobox_core::{
    Error,
    message::{Headers, Message, MessageId, OrderingKey, Origin, Topic},
    partition::Partition,
    store::{Body, Entry, Pending, Revision, Seq, State},
};
use rusqlite::{Row, types::ValueRef};
use uuid::Uuid;

use crate::time::{duration, time_of_day};

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 1_000;

/// A row without its content, as a fetch first looks at it.
pub(crate) struct Head {
    pub(crate) seq: i64,
    revision: Revision,
    attempt: u32,
    crashes: u32,
    uncertain: bool,
    alone: bool,
    suspect: bool,
    pub(crate) key: Option<OrderingKey>,
    pub(crate) size: usize,
    age_ms: i64,
    /// Whether a row of its key in front of it blocks it.
    pub(crate) blocked: bool,
}

impl Head {
    /// Reads the first columns of `Sql::row`.
    pub(crate) fn read(seq: i64, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq,
            revision: Revision(row.get(0)?),
            attempt: count(row.get(1)?),
            crashes: count(row.get(2)?),
            uncertain: row.get(3)?,
            alone: row.get(4)?,
            suspect: row.get(5)?,
            key: key(row.get_ref(6)?),
            size: usize::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
            age_ms: row.get(8)?,
            blocked: row.get(9)?,
        })
    }

    /// The row as one that may run.
    pub(crate) fn pending(self, partition: Partition, body: Body) -> Pending {
        Pending {
            partition,
            seq: Seq(self.seq),
            revision: self.revision,
            attempt: self.attempt,
            key: self.key,
            uncertain: self.uncertain,
            alone: self.alone,
            suspect: self.suspect,
            crashes: self.crashes,
            age: duration(self.age_ms),
            size: self.size,
            body,
        }
    }
}

/// Reads the other columns of `Sql::row`, and the key, and makes a message of them.
pub(crate) fn body(row: &Row<'_>, origin: Origin) -> rusqlite::Result<Body> {
    decode(origin, row, [10, 11, 6, 12, 13, 14])
}

/// Reads the columns of `Sql::list_all`.
pub(crate) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let code: i16 = row.get(2)?;
    let state = State::from_code(code)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, i64::from(code)))?;
    let mut entry = Entry::new(
        lossy(row.get_ref(3)?),
        Partition::new(row.get(1)?),
        Seq(row.get(0)?),
        state,
        lossy(row.get_ref(4)?),
        time_of_day(row.get(10)?),
    );
    entry.key = key(row.get_ref(5)?);
    entry.attempt = count(row.get(6)?);
    entry.uncertain = row.get(7)?;
    entry.halts = row.get(8)?;
    entry.reason = row
        .get_ref(9)?
        .as_bytes_or_null()?
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    entry.settled_at = row.get::<_, Option<i64>>(11)?.map(time_of_day);
    Ok(entry)
}

/// Reads the columns of `Sql::get`: an entry and its body.
pub(crate) fn entry_with_body(row: &Row<'_>, origin: Origin) -> rusqlite::Result<Entry> {
    let mut entry = entry(row)?;
    entry.body = Some(decode(origin, row, [3, 4, 5, 12, 13, 14])?);
    Ok(entry)
}

/// Cuts a reason at the longest that is kept, between two characters.
pub(crate) fn cut(reason: &str) -> &str {
    let end = reason.floor_char_boundary(REASON_MAX.min(reason.len()));
    reason.get(..end).unwrap_or_default()
}

/// Makes a message of id, topic, key, headers, payload and origin in the columns named; `ours` is the
/// origin of rows that have none. A part that cannot be read back is named, never shown.
fn decode(ours: Origin, row: &Row<'_>, columns: [usize; 6]) -> rusqlite::Result<Body> {
    let [id, topic, key, headers, payload, origin] = columns;
    let message = parts(
        (ours, row.get_ref(origin)?),
        row.get_ref(id)?,
        row.get_ref(topic)?,
        row.get_ref(key)?,
        row.get_ref(headers)?,
        row.get_ref(payload)?,
    );
    Ok(message.map_or_else(
        |field| Body::Corrupt(format!("the stored {field} cannot be read back")),
        Body::Message,
    ))
}

/// Makes a message of stored parts, or names the one that cannot be read back.
fn parts(
    (ours, origin): (Origin, ValueRef<'_>),
    id: ValueRef<'_>,
    topic: ValueRef<'_>,
    key: ValueRef<'_>,
    headers: ValueRef<'_>,
    payload: ValueRef<'_>,
) -> Result<Message, &'static str> {
    fn read<T>(
        stored: ValueRef<'_>,
        field: &'static str,
        check: impl FnOnce(&str) -> iobox_core::Result<T>,
    ) -> Result<T, &'static str> {
        let text = stored.as_str().map_err(|_| field)?;
        check(text).map_err(|_| field)
    }
    let key = match key {
        ValueRef::Null => None,
        key => Some(read(key, "ordering key", |text| OrderingKey::new(text))?),
    };
    let origin = match origin {
        ValueRef::Null => ours,
        origin => read(origin, "origin", |text| {
            let id =
                Uuid::try_parse(text).map_err(|_| Error::corrupt("the origin is not a UUID"))?;
            Ok(Origin::new(id))
        })?,
    };
    Ok(Message::new(
        origin,
        read(id, "id", |text| MessageId::new(text))?,
        read(topic, "topic", |text| Topic::new(text))?,
        key,
        read(headers, "headers", Headers::from_json)?,
        payload.as_blob().map_err(|_| "payload")?.to_vec().into(),
    ))
}

/// A key as it is stored. Bytes that are no text keep their place in the order all the same.
pub(crate) fn key(stored: ValueRef<'_>) -> Option<OrderingKey> {
    let bytes = stored.as_bytes_or_null().ok().flatten()?;
    Some(OrderingKey::stored(String::from_utf8_lossy(bytes)))
}

fn lossy(stored: ValueRef<'_>) -> String {
    stored.as_bytes().map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(bytes).into_owned(),
    )
}

/// A stored count; one that somebody spoiled is as near as it gets.
fn count(stored: i64) -> u32 {
    u32::try_from(stored.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}é and more", "x".repeat(999));
        assert_eq!(cut(&long).len(), 999);
        assert_eq!(cut(&"x".repeat(2_000)).len(), 1_000);
    }
}
