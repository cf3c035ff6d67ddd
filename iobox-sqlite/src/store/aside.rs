//! Setting aside: moving what must not run to waiting, out of the way of the rest.

use std::collections::{BTreeMap, HashMap, HashSet};

use iobox_core::{
    message::OrderingKey,
    store::{Aside, FetchPartition, Seq},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::due;
use crate::{error::Failure, row, sql::Sql};

/// The most rows of a partition that a fetch reads to set some aside.
const ASIDE_MAX: usize = 1_024;

/// Makes the rows of `keys` waiting that are due and not held, and blocked or of a full key.
///
/// Runs inside of a transaction that may write, by the holder of the partition.
pub(super) fn set(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
    keys: HashSet<OrderingKey>,
) -> Result<Vec<Aside>, Failure> {
    let mut behind = HashMap::new();
    for key in keys {
        if let Some(seq) = last_to_stay(conn, sql, part, &key)? {
            behind.insert(key, seq);
        }
    }
    let now = sql.read_clock(conn)?;
    let mut key_of = conn.prepare_cached(&sql.key)?;
    let mut set_aside = conn.prepare_cached(&sql.set_aside)?;
    let mut moved: BTreeMap<OrderingKey, Aside> = BTreeMap::new();
    for seq in due::seqs(conn, sql, part, now, ASIDE_MAX)? {
        let key = key_of.query_row([seq], |row| Ok(row::key(row.get_ref(0)?)))?;
        let Some(key) = key.filter(|key| behind.get(key).is_some_and(|last| seq > *last)) else {
            continue;
        };
        set_aside.execute([seq])?;
        moved
            .entry(key.clone())
            .and_modify(|aside| aside.count += 1)
            .or_insert(Aside {
                partition: part.partition,
                key,
                first: Seq(seq),
                count: 1,
            });
    }
    Ok(moved.into_values().collect())
}

/// The seq behind which rows of `key` must not run; none when all may.
fn last_to_stay(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
    key: &OrderingKey,
) -> Result<Option<i64>, Failure> {
    if part.full.contains(key) {
        return Ok(Some(i64::MIN));
    }
    Ok(conn
        .prepare_cached(&sql.front)?
        .query_row(params![part.partition.number(), key.as_str(), 1], |row| {
            row.get(0)
        })
        .optional()?)
}
