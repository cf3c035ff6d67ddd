//! Settling: recording outcomes, fenced by the epoch and guarded by the revision.

use std::collections::HashMap;

use iobox_core::{
    partition::Partition,
    store::{Change, Epoch, Mark, Settled, Settlement, State, Verdict},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::lease::holds;
use crate::{error::Failure, row::cut, sql::Sql, time::delay_ms};

/// Applies settlements in their order; see [`Store::settle`](iobox_core::store::Store::settle).
///
/// Runs inside of a transaction that may write, so that a lease that is held stays held until the
/// commit.
pub(super) fn settle(
    conn: &Connection,
    sql: &Sql,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, Failure> {
    let now = sql.read_clock(conn)?;
    let mut fences: HashMap<(Partition, Epoch), bool> = HashMap::new();
    let mut results = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        let fence = (settlement.partition, settlement.epoch);
        let held = match fences.get(&fence) {
            Some(held) => *held,
            None => {
                let held = holds(conn, sql, &sql.shelf.queue, fence.0, fence.1)?;
                fences.insert(fence, held);
                held
            }
        };
        results.push(if !held {
            Settled::LeaseLost
        } else if apply(conn, sql, settlement, now)? || is_repeated(conn, sql, settlement)? {
            Settled::Applied
        } else {
            Settled::Superseded
        });
    }
    Ok(results)
}

/// Changes the row, if it is still as the settlement expects it.
fn apply(conn: &Connection, sql: &Sql, settlement: &Settlement, now: i64) -> Result<bool, Failure> {
    let (seq, partition) = (settlement.seq.0, settlement.partition.number());
    let (revision, attempt) = (settlement.revision.0, settlement.attempt);
    let changed = match &settlement.change {
        Change::Verdict(Verdict::Done { duplicate }) => conn
            .prepare_cached(&sql.done)?
            .execute(params![seq, partition, revision, attempt, now, duplicate])?,
        Change::Verdict(Verdict::Retry { after, reason }) => {
            conn.prepare_cached(&sql.retry)?.execute(params![
                seq,
                partition,
                revision,
                attempt,
                now.saturating_add(delay_ms(*after)),
                cut(reason),
                false,
                false,
            ])?
        }
        Change::Verdict(Verdict::Unknown {
            after,
            reason,
            alone,
        }) => conn.prepare_cached(&sql.retry)?.execute(params![
            seq,
            partition,
            revision,
            attempt,
            now.saturating_add(delay_ms(*after)),
            cut(reason),
            true,
            alone,
        ])?,
        Change::Verdict(Verdict::Dead { reason, halts }) => {
            conn.prepare_cached(&sql.dead)?.execute(params![
                seq,
                partition,
                revision,
                attempt,
                now,
                cut(reason),
                halts,
            ])?
        }
        Change::Mark(Mark::Suspect { crashes }) => conn
            .prepare_cached(&sql.mark)?
            .execute(params![seq, partition, revision, attempt, true, crashes])?,
        Change::Mark(Mark::Clear { crashes }) => conn
            .prepare_cached(&sql.mark)?
            .execute(params![seq, partition, revision, attempt, false, crashes])?,
    };
    Ok(changed > 0)
}

/// Whether the row looks as if this settlement had been applied by a call whose reply was lost.
fn is_repeated(conn: &Connection, sql: &Sql, settlement: &Settlement) -> Result<bool, Failure> {
    let standing = conn
        .prepare_cached(&sql.standing)?
        .query_row(
            params![settlement.seq.0, settlement.partition.number()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((revision, state, suspect)): Option<(i32, i16, bool)> = standing else {
        return Ok(false);
    };
    let state = State::from_code(state);
    let open = matches!(
        state,
        Some(State::Pending | State::Retrying | State::Waiting)
    );
    let as_wanted = match &settlement.change {
        Change::Verdict(Verdict::Done { .. }) => state == Some(State::Done),
        Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
            state == Some(State::Retrying)
        }
        Change::Verdict(Verdict::Dead { .. }) => state == Some(State::Dead),
        Change::Mark(Mark::Suspect { .. }) => open && suspect,
        Change::Mark(Mark::Clear { .. }) => open && !suspect,
    };
    Ok(revision == settlement.revision.next().0 && as_wanted)
}
