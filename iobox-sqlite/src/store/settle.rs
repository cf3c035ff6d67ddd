//! Settling: recording outcomes, fenced by the epoch and guarded by the revision.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use iobox_core::{
    partition::Partition,
    store::{Change, Epoch, Mark, Revision, Settled, Settlement, State, Verdict},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    cursor::{self, Cursor},
    lease::holds,
};
use crate::{error::Failure, log::LogSql, row::cut, sql::Sql, time::delay_ms};

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
    for settlement in settlements {
        let (partition, epoch) = (settlement.partition, settlement.epoch);
        if let Entry::Vacant(fence) = fences.entry((partition, epoch)) {
            fence.insert(holds(conn, sql, &sql.shelf.queue, partition, epoch)?);
        }
    }
    let held = |one: &Settlement| fences.get(&(one.partition, one.epoch)) == Some(&true);
    let taken = match &sql.log {
        Some(log) => take(conn, log, settlements.iter().filter(|one| held(one)), now)?,
        None => HashSet::new(),
    };
    let mut results = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        results.push(if !held(settlement) {
            Settled::LeaseLost
        } else if taken.contains(&settlement.seq.0)
            || apply(conn, sql, settlement, now)?
            || is_repeated(conn, sql, settlement)?
        {
            Settled::Applied
        } else {
            Settled::Superseded
        });
    }
    Ok(results)
}

/// Moves the cursors of the log over messages that went through at the first attempt, without a word
/// to add. Returns the seqs of those; the others are settled by their rows.
fn take<'a>(
    conn: &Connection,
    log: &LogSql,
    settlements: impl Iterator<Item = &'a Settlement>,
    now: i64,
) -> Result<HashSet<i64>, Failure> {
    let mut plain: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
    for one in settlements {
        let done = Change::Verdict(Verdict::Done { duplicate: false });
        // What is logged was never changed.
        if one.change == done && one.attempt == 1 && one.revision == Revision(0) {
            plain.entry(one.partition).or_default().push(one.seq.0);
        }
    }
    let mut all = HashSet::new();
    for (partition, seqs) in plain {
        let cursor = Cursor::read(conn, log, partition)?;
        let taken = cursor.take(conn, log, partition, &seqs)?;
        cursor::note(conn, log, partition, &taken, now)?;
        all.extend(taken);
    }
    Ok(all)
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
        Change::Verdict(Verdict::Dead {
            reason,
            halts,
            uncertain,
        }) => conn.prepare_cached(&sql.dead)?.execute(params![
            seq,
            partition,
            revision,
            attempt,
            now,
            cut(reason),
            halts,
            uncertain,
        ])?,
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
