//! The rows of a partition that are due.

use std::collections::HashSet;

use iobox_core::store::FetchPartition;
use rusqlite::{Connection, Params, params};

use super::cursor::Cursor;
use crate::{error::Failure, sql::Sql};

/// The seqs of the oldest rows that are due and not held, at most `most`.
pub(super) fn seqs(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
    now: i64,
    most: usize,
) -> Result<Vec<i64>, Failure> {
    let number = part.partition.number();
    let held: HashSet<i64> = part.held.iter().map(|seq| seq.0).collect();
    let is_held = |seq| held.contains(&seq);
    let mut seqs = Vec::new();
    read(
        conn,
        &sql.scan_due,
        params![number, now],
        is_held,
        most,
        &mut seqs,
    )?;
    read(conn, &sql.scan_pending, [number], is_held, most, &mut seqs)?;
    let apart = seqs.len();
    if let Some(log) = &sql.log {
        let cursor = Cursor::read(conn, log, part.partition)?;
        let is_taken = |seq| is_held(seq) || cursor.ahead.contains(&seq);
        read(
            conn,
            &log.scan,
            params![number, cursor.upto],
            is_taken,
            most,
            &mut seqs,
        )?;
    }
    if apart > 0 {
        seqs.sort_unstable();
        seqs.truncate(most);
    }
    Ok(seqs)
}

/// Adds the first `most` seqs that a statement finds and that are not to be left out.
fn read(
    conn: &Connection,
    statement: &str,
    params: impl Params,
    is_left_out: impl Fn(i64) -> bool,
    most: usize,
    seqs: &mut Vec<i64>,
) -> Result<(), Failure> {
    let mut statement = conn.prepare_cached(statement)?;
    let mut rows = statement.query(params)?;
    let mut found = 0;
    while found < most
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        if !is_left_out(seq) {
            seqs.push(seq);
            found += 1;
        }
    }
    Ok(())
}
