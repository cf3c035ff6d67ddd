//! Fetching: which rows of a partition may run.

use std::collections::HashSet;

use iobox_core::{
    message::{OrderingKey, Origin},
    partition::Partitions,
    store::{FetchPartition, FetchRequest, Fetched, State},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::lease::holds;
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
/// Reads one snapshot. Only when there are waiting rows to release it becomes a transaction that
/// writes, and looks again inside of it.
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
        return look(&snapshot, sql, partitions, request, Fetched::default());
    }
    drop(snapshot);
    gate.write(Urgency::Normal, conn, |tx| {
        let mut fetched = Fetched::default();
        for part in &request.partitions {
            release(tx, sql, request, part, &mut fetched)?;
        }
        look(tx, sql, partitions, request, fetched)
    })
}

/// Fills `fetched` from the partitions in their order.
fn look(
    conn: &Connection,
    sql: &Sql,
    partitions: Partitions,
    request: &FetchRequest,
    fetched: Fetched,
) -> Result<Fetched, Failure> {
    let meta = migrate::meta(conn, sql, partitions)?;
    let mut look = Look {
        pending: conn.prepare_cached(&sql.scan_pending)?,
        due: conn.prepare_cached(&sql.scan_due)?,
        head: conn.prepare_cached(&sql.head)?,
        body: conn.prepare_cached(&sql.body)?,
        origin: meta.info.origin,
        now: meta.now,
        request,
        bytes: 0,
        fetched,
    };
    for part in &request.partitions {
        look.at(part)?;
    }
    Ok(look.fetched)
}

/// A fetch under way.
struct Look<'a> {
    pending: CachedStatement<'a>,
    due: CachedStatement<'a>,
    head: CachedStatement<'a>,
    body: CachedStatement<'a>,
    origin: Origin,
    now: i64,
    request: &'a FetchRequest,
    /// The sizes of the rows taken so far.
    bytes: usize,
    fetched: Fetched,
}

impl Look<'_> {
    /// Looks at one partition.
    fn at(&mut self, part: &FetchPartition) -> Result<(), Failure> {
        let window = part.limit.saturating_mul(2);
        let mut seqs = self.window(part, window)?;
        let mut more = seqs.len() > window;
        seqs.truncate(window);
        let full: HashSet<&OrderingKey> = part.full.iter().collect();
        let room = part.limit.min(
            self.request
                .limit
                .saturating_sub(self.fetched.pending.len()),
        );
        let (mut taken, mut aside) = (0, 0);
        let mut crowd = Vec::new();
        for seq in seqs {
            let Some(head) = self.head(seq)? else {
                continue;
            };
            if head.blocked {
                if aside < part.limit {
                    aside += 1;
                    self.fetched.aside.extend(head.aside(part.partition));
                }
            } else if head.key.as_ref().is_some_and(|key| full.contains(key)) {
                crowd.extend(head.aside(part.partition));
            } else if taken < room && self.has_room_for(head.size) {
                taken += 1;
                self.take(part, head)?;
            } else {
                // Nothing behind it may come either: it would overtake a row of its key.
                more = true;
                break;
            }
        }
        if crowd.len() >= part.limit.max(1) {
            crowd.truncate(part.limit.saturating_sub(aside));
            self.fetched.aside.append(&mut crowd);
        }
        if more {
            self.fetched.more.push(part.partition);
        }
        Ok(())
    }

    /// The seqs of the oldest rows that are due and not held, at most one more than `window`.
    fn window(&mut self, part: &FetchPartition, window: usize) -> Result<Vec<i64>, Failure> {
        let held: HashSet<i64> = part.held.iter().map(|seq| seq.0).collect();
        let limit = window.saturating_add(1);
        let mut seqs = Vec::new();
        let mut due = self.due.query(params![part.partition.number(), self.now])?;
        while seqs.len() < limit
            && let Some(row) = due.next()?
        {
            let seq = row.get(0)?;
            if !held.contains(&seq) {
                seqs.push(seq);
            }
        }
        let (mut pending, retrying) = (0, seqs.len());
        let mut rows = self.pending.query([part.partition.number()])?;
        while pending < limit
            && let Some(row) = rows.next()?
        {
            let seq = row.get(0)?;
            if !held.contains(&seq) {
                seqs.push(seq);
                pending += 1;
            }
        }
        if retrying > 0 {
            seqs.sort_unstable();
            seqs.truncate(limit);
        }
        Ok(seqs)
    }

    fn head(&mut self, seq: i64) -> Result<Option<Head>, Failure> {
        Ok(self
            .head
            .query_row(params![seq, self.now], |row| Head::read(seq, row))
            .optional()?)
    }

    fn has_room_for(&self, size: usize) -> bool {
        self.fetched.pending.is_empty() || self.bytes.saturating_add(size) <= self.request.bytes
    }

    fn take(&mut self, part: &FetchPartition, head: Head) -> Result<(), Failure> {
        let body = self
            .body
            .query_row([head.seq], |row| row::body(row, self.origin))?;
        self.bytes = self.bytes.saturating_add(head.size);
        self.fetched
            .pending
            .push(head.pending(part.partition, body));
        Ok(())
    }
}

/// Makes the waiting rows of one partition pending that have nothing in front of them.
fn release(
    conn: &Connection,
    sql: &Sql,
    request: &FetchRequest,
    part: &FetchPartition,
    fetched: &mut Fetched,
) -> Result<(), Failure> {
    let asked = part.sweep || !part.release.is_empty();
    if !asked || !holds(conn, sql, request.queue.name(), part.partition, part.epoch)? {
        return Ok(());
    }
    let mut release_key = conn.prepare_cached(&sql.release_key)?;
    for (key, last) in ready_keys(conn, sql, part)? {
        release_key.execute(params![part.partition.number(), key.as_str(), last])?;
        fetched.released.push((part.partition, key));
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
