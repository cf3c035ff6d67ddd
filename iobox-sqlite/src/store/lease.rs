//! Leases: instances and the partitions they own.

use std::collections::HashSet;

use iobox_core::{
    partition::{Partition, Partitions},
    store::{AcquireRequest, Acquired, Epoch, Grant, ReleaseRequest, RenewRequest, Renewed},
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{error::Failure, sql::Sql, time::delay_ms};

/// Extends the life of an instance, or registers it.
pub(super) fn renew(
    conn: &Connection,
    sql: &Sql,
    request: &RenewRequest,
) -> Result<Renewed, Failure> {
    let statement = if request.register {
        &sql.register
    } else {
        &sql.renew
    };
    let changed = conn.prepare_cached(statement)?.execute(params![
        request.queue.name(),
        request.instance.to_string(),
        delay_ms(request.ttl),
        request.in_flight,
    ])?;
    Ok(if changed == 0 {
        Renewed::Gone
    } else {
        Renewed::Alive
    })
}

/// Deletes expired instances, and takes free partitions up to the taker's share.
pub(super) fn acquire(
    conn: &Connection,
    sql: &Sql,
    request: &AcquireRequest,
    partitions: Partitions,
) -> Result<Acquired, Failure> {
    let (queue, taker) = (request.queue.name(), request.instance.to_string());
    let alive = conn
        .prepare_cached(&sql.is_alive)?
        .exists(params![queue, taker])?;
    if !alive {
        return Ok(Acquired::Gone);
    }
    conn.prepare_cached(&sql.expire)?
        .execute(params![queue, taker])?;
    let members = conn
        .prepare_cached(&sql.members)?
        .query_map([queue], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let rank = members.iter().position(|id| *id == taker).unwrap_or(0);
    let all = usize::from(partitions.count());
    let live = members.len().max(1);
    let share = all / live + usize::from(rank < all % live);
    let room = share.saturating_sub(request.held.len());
    // What the store has under the taker's name and the taker does not know of was granted by a
    // call whose reply was lost.
    let known: HashSet<u8> = request.held.iter().map(|held| held.number()).collect();
    let free = conn
        .prepare_cached(&sql.free)?
        .query_map(params![queue, taker], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .filter(|slot| !matches!(slot, Ok((partition, ..)) if known.contains(partition)))
        .collect::<rusqlite::Result<Vec<(u8, bool, bool)>>>()?;
    let lost = free.iter().filter(|(.., own)| *own).count();
    let mut take = conn.prepare_cached(&sql.take)?;
    let mut granted = Vec::with_capacity(room.max(lost));
    for (partition, abandoned, _) in free.into_iter().take(room.max(lost)) {
        granted.push(Grant {
            partition: Partition::new(partition),
            epoch: Epoch(take.query_row(params![queue, partition, taker], |row| row.get(0))?),
            abandoned,
        });
    }
    Ok(Acquired::Share {
        share: u16::try_from(share).unwrap_or(u16::MAX),
        granted,
    })
}

/// Gives partitions back, and with `leave` the instance's own row.
pub(super) fn release(
    conn: &Connection,
    sql: &Sql,
    request: &ReleaseRequest,
) -> Result<(), Failure> {
    let (queue, owner) = (request.queue.name(), request.instance.to_string());
    let mut give_back = conn.prepare_cached(&sql.give_back)?;
    for grant in &request.partitions {
        give_back.execute(params![
            queue,
            grant.partition.number(),
            owner,
            grant.epoch.0,
            grant.abandoned
        ])?;
    }
    if request.leave {
        conn.prepare_cached(&sql.leave)?
            .execute(params![queue, owner])?;
    }
    Ok(())
}

/// Whether the partition is held under `epoch`. Only true for longer than this call inside of a
/// transaction that may write.
pub(super) fn holds(
    conn: &Connection,
    sql: &Sql,
    queue: &str,
    partition: Partition,
    epoch: Epoch,
) -> Result<bool, Failure> {
    Ok(conn
        .prepare_cached(&sql.holds)?
        .query_row(params![queue, partition.number(), epoch.0], |_| Ok(()))
        .optional()?
        .is_some())
}
