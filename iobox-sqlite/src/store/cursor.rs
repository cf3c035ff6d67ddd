//! The cursor: how far a partition of the log is done.

use std::collections::HashSet;

use iobox_core::{Error, partition::Partition};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{error::Failure, log::LogSql};

/// How many finished rows a cursor lists. What is in their way leaves the log then.
const AHEAD_MAX: usize = 1_024;

/// The cursor of a partition.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The logged rows up to this seq are done.
    pub(super) upto: i64,
    /// The last of `ahead`, or `upto`.
    top: i64,
    /// Logged rows behind `upto` that are done too.
    pub(super) ahead: HashSet<i64>,
}

impl Cursor {
    /// Reads the cursor of `partition`.
    ///
    /// # Errors
    /// [`Corrupt`](iobox_core::ErrorKind::Corrupt) when it is gone or cannot be read.
    pub(super) fn read(
        conn: &Connection,
        log: &LogSql,
        partition: Partition,
    ) -> Result<Self, Failure> {
        let stored = conn
            .prepare_cached(&log.cursor)?
            .query_row([partition.number()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
            })
            .optional()?;
        let (upto, top, ahead) = stored.ok_or_else(|| {
            Error::corrupt(format!(
                "partition {partition} has no row in the table cursor"
            ))
        })?;
        Ok(Self {
            upto,
            top,
            ahead: parse(&ahead, "column ahead of the table cursor")?
                .into_iter()
                .collect(),
        })
    }

    /// Takes those of `seqs` that are logged and pending, and returns them in order.
    ///
    /// Goes up to the first logged row that is not done. Those behind it are listed; when they become
    /// too many, the rows in front leave the log, and are pending by their state.
    ///
    /// Runs inside of a transaction that may write.
    pub(super) fn take(
        mut self,
        conn: &Connection,
        log: &LogSql,
        partition: Partition,
        seqs: &[i64],
    ) -> Result<Vec<i64>, Failure> {
        let Some(last) = seqs.iter().copied().max() else {
            return Ok(Vec::new());
        };
        let wanted: HashSet<i64> = seqs.iter().copied().collect();
        let top = self.top.max(last);
        let (mut taken, mut ahead, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        let mut scan = conn.prepare_cached(&log.scan)?;
        let mut rows = scan.query(params![partition.number(), self.upto])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            if seq > top {
                break;
            }
            let listed = self.ahead.contains(&seq);
            if !listed && wanted.contains(&seq) {
                taken.push(seq);
            } else if !listed {
                gaps.push(seq);
                continue;
            }
            if gaps.is_empty() {
                self.upto = seq;
            } else {
                ahead.push(seq);
            }
        }
        drop(rows);
        if ahead.len() > AHEAD_MAX {
            let mut spill = conn.prepare_cached(&log.spill)?;
            for seq in gaps {
                spill.execute([seq])?;
            }
            self.upto = ahead.last().copied().unwrap_or(self.upto);
            ahead.clear();
        }
        self.top = ahead.last().copied().unwrap_or(self.upto);
        conn.prepare_cached(&log.move_cursor)?.execute(params![
            partition.number(),
            self.upto,
            self.top,
            text(&ahead)
        ])?;
        Ok(taken)
    }
}

/// Notes that logged rows were done now. They are in order.
pub(super) fn note(
    conn: &Connection,
    log: &LogSql,
    partition: Partition,
    seqs: &[i64],
    now: i64,
) -> Result<(), Failure> {
    if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
        conn.prepare_cached(&log.note)?.execute(params![
            partition.number(),
            first,
            last,
            now,
            text(seqs)
        ])?;
    }
    Ok(())
}

/// A list of seqs as a JSON array.
pub(super) fn text(seqs: &[i64]) -> String {
    let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
    format!("[{}]", seqs.join(","))
}

/// Reads a list of seqs back.
pub(super) fn parse(text: &str, what: &str) -> Result<Vec<i64>, Failure> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let seqs = match inner {
        Some("") => Some(Vec::new()),
        Some(inner) => inner.split(',').map(|seq| seq.parse().ok()).collect(),
        None => None,
    };
    Ok(seqs.ok_or_else(|| Error::corrupt(format!("{what} is no list of seqs")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_seqs_is_read_back() {
        for seqs in [vec![], vec![7], vec![1, 2, i64::MAX]] {
            assert_eq!(parse(&text(&seqs), "it").expect("a list"), seqs);
        }
        for spoiled in ["", "[", "[1,]", "[1, x]", "{}", "[1.5]", "null"] {
            assert!(parse(spoiled, "it").is_err(), "{spoiled}");
        }
    }
}
