//! Leases: instances and the partitions they own.

use std::collections::HashSet;

use iobox_core::{
    partition::Partition,
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
    let width: u16 = conn
        .prepare_cached(&sql.width)?
        .query_row([queue], |row| row.get(0))?;
    let (all, live) = (usize::from(width), members.len().max(1));
    let share = all / live + usize::from(rank < all % live);
    let held = request.held.iter();
    let known: HashSet<(u8, i64)> = held.map(|(one, epoch)| (one.number(), epoch.0)).collect();
    let slots = conn
        .prepare_cached(&sql.free)?
        .query_map(params![queue, taker], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<Vec<(u8, i64, bool, bool)>>>()?;
    let (own, free): (Vec<_>, Vec<_>) = slots.into_iter().partition(|(.., own)| *own);
    let room = share.saturating_sub(own.len());
    // What the store has under the taker's name and the taker does not know under this epoch was
    // granted by a call whose reply was lost, or which took effect late.
    let lost = own
        .into_iter()
        .filter(|(partition, epoch, ..)| !known.contains(&(*partition, *epoch)));
    let slots = lost.chain(free.into_iter().take(room));
    let mut take = conn.prepare_cached(&sql.take)?;
    let mut granted = Vec::new();
    for (partition, _, abandoned, _) in slots {
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
pub(crate) fn holds(
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
