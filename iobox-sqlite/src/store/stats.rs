//! Statistics: counting a queue.

use iobox_core::{
    partition::Partition,
    queue::Queue,
    store::{Epoch, InstanceId, InstanceStats, PartitionStats, State, Stats},
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    error::Failure,
    sql::{OPEN, Sql},
    time::duration,
};

/// Counts the rows that are not settled, the partitions and the instances.
pub(super) fn stats(conn: &Connection, sql: &Sql, queue: &Queue) -> Result<Stats, Failure> {
    let now = sql.read_clock(conn)?;
    let mut stats = Stats::default();
    let mut oldest: Option<i64> = None;
    let logged = sql.log.as_ref().map(|log| (State::Pending, &log.count));
    let apart = OPEN.iter().map(|(state, _)| *state).zip(&sql.count);
    for (state, statement) in apart.chain(logged) {
        let (count, first): (i64, Option<i64>) = conn
            .prepare_cached(statement)?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let count = u64::try_from(count).unwrap_or_default();
        match state {
            State::Pending => stats.pending += count,
            State::Retrying => stats.retrying = count,
            State::Waiting => stats.waiting = count,
            _ => stats.dead = count,
        }
        if state != State::Dead {
            oldest = oldest.into_iter().chain(first).min();
        }
    }
    stats.oldest_pending_age = oldest.map(|at| duration(now.saturating_sub(at)));
    let halted: i64 = conn
        .prepare_cached(&sql.halted_keys)?
        .query_row([], |row| row.get(0))?;
    stats.halted_keys = u64::try_from(halted).unwrap_or_default();
    stats.partitions = conn
        .prepare_cached(&sql.slots)?
        .query_map([queue.name()], |row| {
            Ok(PartitionStats {
                partition: Partition::new(row.get(0)?),
                owner: row
                    .get::<_, Option<String>>(1)?
                    .and_then(|id| instance(&id)),
                epoch: Epoch(row.get(2)?),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut instances = conn.prepare_cached(&sql.instances)?;
    let mut rows = instances.query([queue.name()])?;
    while let Some(row) = rows.next()? {
        let Some(instance) = instance(&row.get::<_, String>(0)?) else {
            continue;
        };
        stats.instances.push(InstanceStats {
            instance,
            in_flight: row.get(1)?,
            age: duration(row.get(2)?),
            expires_in: duration(row.get(3)?),
        });
    }
    Ok(stats)
}

/// The instance with this stored id; one that somebody spoiled is not shown.
fn instance(id: &str) -> Option<InstanceId> {
    Uuid::try_parse(id).ok().map(InstanceId::new)
}
