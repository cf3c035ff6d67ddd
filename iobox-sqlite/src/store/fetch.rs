//! Fetching: which rows of a partition may run.

use std::collections::HashSet;

use iobox_core::{
    message::{OrderingKey, Origin},
    partition::{Partition, Partitions},
    store::{FetchPartition, FetchRequest, Fetched, State},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{aside, due, lease::holds};
use crate::{
    error::Failure,
    gate::{Gate, Urgency},
    migrate,
    row::{self, Head},
    sql::Sql,
};

/// The most waiting rows of a key that one fetch releases.
const RELEASE_MAX: usize = 256;
/// The most keys that one sweep of a partition releases.
const SWEEP_MAX: usize = 64;

/// Fetches what is due; see [`Store::fetch`](iobox_core::store::Store::fetch).
///
/// Reads one snapshot. Only when there are waiting rows to release, or rows to set aside, it becomes
/// a transaction that writes, and looks again inside of it.
pub(super) fn fetch(
    conn: &mut Connection,
    gate: &Gate,
    sql: &Sql,
    partitions: Partitions,
    request: &FetchRequest,
) -> Result<Fetched, Failure> {
    let snapshot = conn.transaction()?;
    let mut ready = false;
    for part in &request.partitions {
        ready = ready || !ready_keys(&snapshot, sql, part)?.is_empty();
    }
    if !ready {
        let (fetched, in_the_way) = look(&snapshot, sql, partitions, request)?;
        if in_the_way.is_empty() {
            return Ok(fetched);
        }
    }
    drop(snapshot);
    gate.write(Urgency::Normal, conn, |tx| {
        let mut released = Vec::new();
        for part in &request.partitions {
            release(tx, sql, request, part, &mut released)?;
        }
        let (mut fetched, in_the_way) = look(tx, sql, partitions, request)?;
        fetched.released = released;
        for (part, keys) in in_the_way {
            if holds(tx, sql, request.queue.name(), part.partition, part.epoch)? {
                fetched.aside.extend(aside::set(tx, sql, part, keys)?);
            }
        }
        Ok(fetched)
    })
}

/// A partition, and keys of which rows are in the way of the rest of it.
type InTheWay<'a> = (&'a FetchPartition, HashSet<OrderingKey>);

/// What may run, from the partitions in their order, and what is in the way.
fn look<'a>(
    conn: &Connection,
    sql: &Sql,
    partitions: Partitions,
    request: &'a FetchRequest,
) -> Result<(Fetched, Vec<InTheWay<'a>>), Failure> {
    let meta = migrate::meta(conn, sql, partitions)?;
    let mut look = Look {
        conn,
        sql,
        row: conn.prepare_cached(&sql.row)?,
        origin: meta.info.origin,
        now: meta.now,
        request,
        bytes: 0,
        fetched: Fetched::default(),
    };
    let mut in_the_way = Vec::new();
    for part in &request.partitions {
        let keys = look.at(part)?;
        if !keys.is_empty() {
            in_the_way.push((part, keys));
        }
    }
    Ok((look.fetched, in_the_way))
}

/// A fetch under way.
struct Look<'a> {
    conn: &'a Connection,
    sql: &'a Sql,
    row: CachedStatement<'a>,
    origin: Origin,
    now: i64,
    request: &'a FetchRequest,
    /// The sizes of the rows taken so far.
    bytes: usize,
    fetched: Fetched,
}

impl Look<'_> {
    /// Looks at one partition; returns the keys that are in the way.
    fn at(&mut self, part: &FetchPartition) -> Result<HashSet<OrderingKey>, Failure> {
        let window = part.limit.saturating_mul(2);
        let most = window.saturating_add(1);
        let mut seqs = due::seqs(self.conn, self.sql, part, self.now, most)?;
        let mut more = seqs.len() > window;
        seqs.truncate(window);
        let full: HashSet<&OrderingKey> = part.full.iter().collect();
        let room = part.limit.min(
            self.request
                .limit
                .saturating_sub(self.fetched.pending.len()),
        );
        let (mut taken, mut crowd) = (0, 0);
        let mut in_the_way = HashSet::new();
        let mut crowding = HashSet::new();
        for seq in seqs {
            let mut rows = self.row.query(params![seq, self.now])?;
            let Some(row) = rows.next()? else {
                continue;
            };
            let head = Head::read(seq, row)?;
            if head.blocked {
                in_the_way.extend(head.key);
            } else if head.key.as_ref().is_some_and(|key| full.contains(key)) {
                crowd += 1;
                crowding.extend(head.key);
            } else if taken < room
                && (self.fetched.pending.is_empty()
                    || self.bytes.saturating_add(head.size) <= self.request.bytes)
            {
                taken += 1;
                self.bytes = self.bytes.saturating_add(head.size);
                let body = row::body(row, self.origin)?;
                let pending = head.pending(part.partition, body);
                self.fetched.pending.push(pending);
            } else {
                more = true;
                // Nothing behind it may come either: it would overtake a row of its key. Where
                // nothing comes at all, what is in the way is found all the same.
                if self.request.limit > 0 {
                    break;
                }
            }
        }
        if crowd >= part.limit.max(1) {
            in_the_way.extend(crowding);
        }
        if more {
            self.fetched.more.push(part.partition);
        }
        Ok(in_the_way)
    }
}

/// Makes the waiting rows of one partition pending that have nothing in front of them.
fn release(
    conn: &Connection,
    sql: &Sql,
    request: &FetchRequest,
    part: &FetchPartition,
    released: &mut Vec<(Partition, OrderingKey)>,
) -> Result<(), Failure> {
    let asked = part.sweep || !part.release.is_empty();
    if !asked || !holds(conn, sql, request.queue.name(), part.partition, part.epoch)? {
        return Ok(());
    }
    let mut release_key = conn.prepare_cached(&sql.release_key)?;
    for (key, last) in ready_keys(conn, sql, part)? {
        release_key.execute(params![part.partition.number(), key.as_str(), last])?;
        released.push((part.partition, key));
    }
    Ok(())
}

/// The keys that the request wants released and that have a waiting row in front, each with the seq
/// of the last row to release.
fn ready_keys(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
) -> Result<Vec<(OrderingKey, i64)>, Failure> {
    let mut ready = Vec::new();
    let mut seen = HashSet::new();
    for key in &part.release {
        if seen.insert(key.clone())
            && let Some(last) = last_to_release(conn, sql, part, key)?
        {
            ready.push((key.clone(), last));
        }
    }
    if !part.sweep {
        return Ok(ready);
    }
    let mut next = conn.prepare_cached(&sql.next_waiting_key)?;
    let mut swept = 0;
    let mut behind = None;
    while swept < SWEEP_MAX {
        let found = next
            .query_row(params![part.partition.number(), behind], |row| {
                Ok((row.get::<_, i64>(0)?, row::key(row.get_ref(1)?)))
            })
            .optional()?;
        let Some((seq, key)) = found else {
            break;
        };
        behind = Some(seq);
        if let Some(key) = key
            && !seen.contains(&key)
            && let Some(last) = last_to_release(conn, sql, part, &key)?
        {
            ready.push((key, last));
            swept += 1;
        }
    }
    Ok(ready)
}

/// The last of the oldest waiting rows of `key` that have no other blocker in front of them.
fn last_to_release(
    conn: &Connection,
    sql: &Sql,
    part: &FetchPartition,
    key: &OrderingKey,
) -> Result<Option<i64>, Failure> {
    let mut front = conn.prepare_cached(&sql.front)?;
    let mut rows = front.query(params![
        part.partition.number(),
        key.as_str(),
        i64::try_from(RELEASE_MAX).unwrap_or(i64::MAX)
    ])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i16>(1)? != State::Waiting.code() {
            break;
        }
        last = Some(row.get(0)?);
    }
    Ok(last)
}
