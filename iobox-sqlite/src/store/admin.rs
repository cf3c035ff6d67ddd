//! Administration: counting, listing, replaying, discarding, purging.

use std::time::Duration;

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    message::MessageId,
    queue::Queue,
    store::{
        Admin, Discarded, Entry, Filter, Page, ReplayId, ReplayProgress, Replayed, Selection,
        State, Stats,
    },
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Inner, SqliteStore,
    pick::{matching, out_of_order, pick},
    purge,
    stats::stats,
};
use crate::{
    error::Failure,
    gate::Urgency,
    migrate, row,
    sql::Sql,
    time::{delay_ms, time_of_day},
};

/// The most rows that a purge removes in one transaction, so that it holds the write lock briefly.
const PURGE_MAX: usize = 1_000;

#[async_trait]
impl Admin for SqliteStore {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        let name = queue.clone();
        self.administer(queue, move |conn, inner| {
            let snapshot = conn.transaction()?;
            stats(&snapshot, &inner.sql, &name)
        })
        .await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        if page.limit == 0 || page.limit > 1_000 {
            return Err(Error::invalid(format!(
                "page limit is {}; it needs 1 to 1000",
                page.limit
            )));
        }
        let filter = filter.clone();
        self.administer(queue, move |conn, inner| {
            let snapshot = conn.transaction()?;
            let mut entries = matching(
                &snapshot,
                inner.sql.listing(),
                &filter,
                &State::ALL,
                page.after.map(|after| after.0),
                i64::from(page.limit),
                row::entry,
            )?;
            entries.sort_unstable_by_key(|entry| entry.seq);
            entries.truncate(usize::from(page.limit));
            Ok(entries)
        })
        .await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        let id = id.clone();
        self.administer(queue, move |conn, inner| {
            let snapshot = conn.transaction()?;
            let origin = meta(&snapshot, inner)?;
            Ok(snapshot
                .prepare_cached(&inner.sql.get)?
                .query_row([id.as_str()], |row| row::entry_with_body(row, origin))
                .optional()?)
        })
        .await
    }

    /// Puts messages back to pending; see [`Admin::replay`].
    ///
    /// To count what comes out of order it reads the newest part of the history, on a connection of
    /// its own and before it locks anything.
    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        let selection = selection.clone();
        let replayed = self
            .administer(queue, move |conn, inner| {
                replay(conn, inner, &selection, dry_run)
            })
            .await?;
        self.inner.signal.wake();
        Ok(replayed)
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.administer(queue, move |conn, inner| progress(conn, &inner.sql, replay))
            .await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        let selection = selection.clone();
        let discarded = self
            .administer(queue, move |conn, inner| {
                discard(conn, inner, &selection, dry_run)
            })
            .await?;
        self.inner.signal.wake();
        Ok(discarded)
    }

    /// Removes old messages and ids; see [`Admin::purge`].
    ///
    /// Removes 1,000 in a transaction. A failure leaves those removed that earlier ones of them
    /// removed.
    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        // Ids first, so that an id outlives its message until the next purge at least.
        if *queue == Queue::Outbox {
            self.remove(queue, purge::ids, retention, limit).await?;
        }
        self.remove(queue, purge::messages, retention, limit).await
    }
}

impl SqliteStore {
    /// Runs a part of a purge, 1,000 rows in a transaction. Returns how many it removed.
    async fn remove(
        &self,
        queue: &Queue,
        purge: Purge,
        retention: Duration,
        limit: u32,
    ) -> Result<u64> {
        let mut all = 0_u64;
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        while left > 0 {
            let batch = left.min(PURGE_MAX);
            let removed = self
                .administer(queue, move |conn, inner| {
                    inner.gate.write(Urgency::Normal, conn, |tx| {
                        purge(tx, &inner.sql, delay_ms(retention), batch)
                    })
                })
                .await?;
            all += u64::try_from(removed).unwrap_or(u64::MAX);
            if removed < batch {
                break;
            }
            left -= batch;
        }
        Ok(all)
    }
}

/// Removes what is older than so many milliseconds, at most so many rows; returns how many it removed.
type Purge = fn(&Connection, &Sql, i64, usize) -> Result<usize, Failure>;

fn replay(
    conn: &mut Connection,
    inner: &Inner,
    selection: &Selection,
    dry_run: bool,
) -> Result<Replayed, Failure> {
    let states: &[State] = match selection {
        Selection::Matching(filter) if filter.states.is_empty() => &[State::Dead],
        _ => &[State::Dead, State::Discarded, State::Done],
    };
    let sql = &inner.sql;
    let snapshot = conn.transaction()?;
    let mut until = None;
    if let Selection::PublishedSince { until: given, .. } = selection {
        // Nothing that the snapshot shows is settled later.
        let now = || sql.read_clock(&snapshot).map(time_of_day);
        until = Some(given.map_or_else(now, Ok)?);
    }
    let (picks, more) = pick(&snapshot, sql, selection, states)?;
    let mut replayed = Replayed {
        until,
        replay: None,
        count: u64::try_from(picks.len()).unwrap_or(u64::MAX),
        out_of_order: out_of_order(&snapshot, sql, &picks)?,
        more,
    };
    drop(snapshot);
    if dry_run || picks.is_empty() {
        return Ok(replayed);
    }
    inner.gate.write(Urgency::Normal, conn, |tx| {
        let number: i64 = tx
            .prepare_cached(&sql.next_replay)?
            .query_row([], |row| row.get(0))?;
        let mut put_back = tx.prepare_cached(&sql.replay)?;
        replayed.count = 0;
        for pick in &picks {
            let changed = put_back.execute(params![pick.seq, pick.revision, number])?;
            replayed.count += u64::try_from(changed).unwrap_or(u64::MAX);
        }
        replayed.replay = Some(ReplayId(number));
        Ok(replayed)
    })
}

fn discard(
    conn: &mut Connection,
    inner: &Inner,
    selection: &Selection,
    dry_run: bool,
) -> Result<Discarded, Failure> {
    let states = [State::Pending, State::Retrying, State::Waiting, State::Dead];
    let work = |conn: &Connection| -> Result<Discarded, Failure> {
        let (picks, more) = pick(conn, &inner.sql, selection, &states)?;
        if !dry_run {
            let mut close = conn.prepare_cached(&inner.sql.discard)?;
            for pick in &picks {
                close.execute(params![pick.seq, pick.revision])?;
            }
        }
        Ok(Discarded {
            count: u64::try_from(picks.len()).unwrap_or(u64::MAX),
            more,
        })
    };
    if dry_run {
        return work(&*conn.transaction()?);
    }
    inner.gate.write(Urgency::Normal, conn, |tx| work(tx))
}

fn progress(conn: &Connection, sql: &Sql, replay: ReplayId) -> Result<ReplayProgress, Failure> {
    let mut progress = ReplayProgress::default();
    let mut statement = conn.prepare_cached(&sql.progress)?;
    let mut rows = statement.query([replay.0])?;
    while let Some(row) = rows.next()? {
        let count = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        match State::from_code(row.get(0)?) {
            Some(State::Pending | State::Retrying | State::Waiting) => progress.unsettled += count,
            Some(State::Done) => {
                progress.published += count;
                progress.absorbed += u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
            }
            Some(State::Dead) => progress.dead += count,
            _ => {}
        }
    }
    Ok(progress)
}

fn meta(conn: &Connection, inner: &Inner) -> Result<iobox_core::message::Origin, Failure> {
    Ok(migrate::meta(conn, &inner.sql, inner.config.partitions)?
        .info
        .origin)
}
