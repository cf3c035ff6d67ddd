//! The rows of a partition that are due.

use std::collections::HashSet;

use iobox_core::store::FetchPartition;
use rusqlite::{Connection, params};

use crate::{error::Failure, sql::Sql};

/// The seqs of the oldest rows that are due and not held, at most `most`.
pub(super) fn seqs(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
    now: i64,
    most: usize,
) -> Result<Vec<i64>, Failure> {
    let held: HashSet<i64> = part.held.iter().map(|seq| seq.0).collect();
    let mut seqs = Vec::new();
    let mut retries = conn.prepare_cached(&sql.scan_due)?;
    let mut rows = retries.query(params![part.partition.number(), now])?;
    while seqs.len() < most
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        if !held.contains(&seq) {
            seqs.push(seq);
        }
    }
    let (mut fresh, retrying) = (0, seqs.len());
    let mut pending = conn.prepare_cached(&sql.scan_pending)?;
    let mut rows = pending.query([part.partition.number()])?;
    while fresh < most
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        if !held.contains(&seq) {
            seqs.push(seq);
            fresh += 1;
        }
    }
    if retrying > 0 {
        seqs.sort_unstable();
        seqs.truncate(most);
    }
    Ok(seqs)
}
