//! The row: what columns decode to.

use std::time::{Duration, SystemTime};

use iobox_core::{
    Error, Result,
    message::{Headers, Message, MessageId, OrderingKey, Origin, Topic},
    partition::Partition,
    store::{Body, Entry, Pending, Revision, Seq, State},
};
use sqlx::{Decode, Postgres, Row, Type, postgres::PgRow};
use uuid::Uuid;

use crate::error::from_sqlx;

/// A fetched row.
pub(crate) enum FetchedRow {
    /// It may run.
    Pending(Pending),
    /// Rows of this key are in the way of the rest of their partition.
    InTheWay(Partition, OrderingKey),
    /// It says that its partition holds more.
    More(Partition),
    /// The snapshot in which everything was seen.
    Snapshot(String),
}

/// Reads a column by its place.
pub(crate) fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    at: usize,
) -> Result<T> {
    row.try_get(at)
        .map_err(|source| from_sqlx("reading a row", source))
}

/// A partition as tables keep it; those of handler `n` are counted from `256 * n` on.
pub(crate) fn partition(number: i16) -> Result<Partition> {
    u8::try_from(number.rem_euclid(256))
        .map(Partition::new)
        .map_err(|_| Error::internal("a remainder of 256 is a byte"))
}

/// Microseconds as tables count them; what lies in the past counts as none.
pub(crate) fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A number that a table keeps with a sign that it never has.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Decodes a row of a fetch. `topic` is that of the row before, which most rows share.
pub(crate) fn fetched(
    row: &PgRow,
    origin: Origin,
    topic: &mut Option<Topic>,
) -> Result<FetchedRow> {
    let Some(number) = get::<Option<i16>>(row, 1)? else {
        return Ok(FetchedRow::Snapshot(get(row, 4)?));
    };
    let partition = partition(number)?;
    let Some(in_the_way) = get::<Option<bool>>(row, 0)? else {
        return Ok(FetchedRow::More(partition));
    };
    let key = get::<Option<&str>>(row, 4)?.map(OrderingKey::stored);
    if in_the_way {
        let key = key.ok_or_else(|| Error::internal("a row without a key is in the way"))?;
        return Ok(FetchedRow::InTheWay(partition, key));
    }
    // Of a logged row nothing is told, since nothing happened to it.
    let history = get::<Option<Vec<i32>>>(row, 3)?;
    let [revision, attempt, crashes, uncertain, alone, suspect] = history
        .map_or(Ok([0; 6]), TryInto::try_into)
        .map_err(|_| Error::internal("the history of a row has six numbers"))?;
    Ok(FetchedRow::Pending(Pending {
        partition,
        seq: Seq(get(row, 2)?),
        revision: Revision(revision),
        attempt: count(attempt),
        crashes: count(crashes),
        uncertain: uncertain != 0,
        alone: alone != 0,
        suspect: suspect != 0,
        size: usize::try_from(get::<i32>(row, 5)?).unwrap_or(0),
        age: duration(get(row, 6)?),
        body: body(origin, row, [7, 8, 9, 10, 11], key.as_ref(), topic),
        key,
    }))
}

/// The message of the columns id, topic, headers, payload and origin, or why there is none; `ours` is
/// the origin of rows that have none.
fn body(
    ours: Origin,
    row: &PgRow,
    columns: [usize; 5],
    key: Option<&OrderingKey>,
    known: &mut Option<Topic>,
) -> Body {
    let mut decode = || -> Result<Message> {
        let [id, topic, headers, payload, origin] = columns;
        let origin = match get::<Option<&str>>(row, origin)? {
            None => ours,
            Some(text) => Uuid::parse_str(text)
                .map(Origin::new)
                .map_err(|_| Error::corrupt("the stored origin is not a UUID"))?,
        };
        let key = key.map(OrderingKey::checked).transpose()?;
        Ok(Message::new(
            origin,
            MessageId::new(get::<&str>(row, id)?)?,
            topic_of(get(row, topic)?, known)?,
            key,
            Headers::from_json(get(row, headers)?)?,
            get::<Vec<u8>>(row, payload)?.into(),
        ))
    };
    match decode() {
        Ok(message) => Body::Message(message),
        // The sentences of these errors name fields and bounds, never content.
        Err(error) => Body::Corrupt(error.to_string()),
    }
}

/// The topic of this text, which is mostly the one that is known.
fn topic_of(text: &str, known: &mut Option<Topic>) -> Result<Topic> {
    if let Some(topic) = known.as_ref().filter(|topic| topic.as_str() == text) {
        return Ok(topic.clone());
    }
    let topic = Topic::new(text)?;
    *known = Some(topic.clone());
    Ok(topic)
}

/// Decodes a row of a listing, and of a single message when it has the origin to make one.
pub(crate) fn entry(row: &PgRow, origin: Option<Origin>) -> Result<Entry> {
    let state = State::from_code(get(row, 3)?)
        .ok_or_else(|| Error::corrupt("a stored state is not one of the known codes"))?;
    let mut entry = Entry::new(
        get(row, 0)?,
        partition(get(row, 1)?)?,
        Seq(get(row, 2)?),
        state,
        get(row, 4)?,
        time(get(row, 10)?),
    );
    entry.key = get::<Option<String>>(row, 5)?.map(OrderingKey::stored);
    entry.attempt = count(get(row, 6)?);
    entry.uncertain = get(row, 7)?;
    entry.halts = get(row, 8)?;
    entry.reason = get(row, 9)?;
    entry.settled_at = get::<Option<i64>>(row, 11)?.map(time);
    let columns = [0, 4, 12, 13, 14];
    entry.body = origin.map(|origin| body(origin, row, columns, entry.key.as_ref(), &mut None));
    Ok(entry)
}

fn time(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + duration(micros)
}
