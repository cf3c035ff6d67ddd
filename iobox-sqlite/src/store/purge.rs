//! Purging: removing what was settled long ago.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension, params};

use super::cursor::{parse, text};
use crate::{error::Failure, log::LogSql, sql::Sql};

/// Removes ids that are older than `age_ms` and whose messages are gone, at most `limit`.
pub(super) fn ids(
    conn: &Connection,
    sql: &Sql,
    age_ms: i64,
    limit: usize,
) -> Result<usize, Failure> {
    let mut purge = conn.prepare_cached(&sql.purge_ids)?;
    Ok(purge.execute(params![age_ms, bound(limit)])?)
}

/// Removes rows that were settled longer ago than `age_ms`, oldest first, at most `limit`. Returns how
/// many it removed.
pub(super) fn messages(
    conn: &Connection,
    sql: &Sql,
    age_ms: i64,
    limit: usize,
) -> Result<usize, Failure> {
    match &sql.log {
        Some(log) => merged(conn, log, age_ms, limit),
        None => {
            let mut purge = conn.prepare_cached(&sql.purge)?;
            Ok(purge.execute(params![age_ms, bound(limit)])?)
        }
    }
}

/// What is noted of logged rows that were done together.
struct Settled {
    at: i64,
    partition: i64,
    first: i64,
    seqs: Vec<i64>,
}

/// Removes rows of the log and rows that are apart from it, by the times when they were settled.
fn merged(conn: &Connection, log: &LogSql, age_ms: i64, limit: usize) -> Result<usize, Failure> {
    let mut apart: VecDeque<(i64, i64)> = conn
        .prepare_cached(&log.oldest_apart)?
        .query_map(params![age_ms, bound(limit)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut remove = conn.prepare_cached(&log.remove)?;
    let mut left = limit;
    let mut next = oldest(conn, log, age_ms)?;
    while left > 0 {
        match (apart.front().copied(), next.take()) {
            (Some((at, seq)), logged) if logged.as_ref().is_none_or(|one| at <= one.at) => {
                left -= remove.execute([seq])?;
                apart.pop_front();
                next = logged;
            }
            (_, Some(mut settled)) => {
                let rest = settled.seqs.split_off(left.min(settled.seqs.len()));
                for seq in settled.seqs {
                    // What was put back by a person is apart from the log by now.
                    left -= conn.prepare_cached(&log.remove_logged)?.execute([seq])?;
                }
                let (partition, first) = (settled.partition, settled.first);
                if let Some(seq) = rest.first() {
                    conn.prepare_cached(&log.shorten)?.execute(params![
                        partition,
                        first,
                        seq,
                        text(&rest)
                    ])?;
                } else {
                    conn.prepare_cached(&log.forget)?
                        .execute(params![partition, first])?;
                }
                next = oldest(conn, log, age_ms)?;
            }
            _ => break,
        }
    }
    Ok(limit - left)
}

fn oldest(conn: &Connection, log: &LogSql, age_ms: i64) -> Result<Option<Settled>, Failure> {
    let found = conn
        .prepare_cached(&log.oldest)?
        .query_row([age_ms], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get::<_, String>(3)?,
            ))
        })
        .optional()?;
    let Some((at, partition, first, seqs)) = found else {
        return Ok(None);
    };
    Ok(Some(Settled {
        at,
        partition,
        first,
        seqs: parse(&seqs, "column seqs of the table settled")?,
    }))
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
