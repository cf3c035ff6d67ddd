//! Administration of the in-memory store.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use super::{MemoryStore, row::Row, table::Table};
use crate::{
    Error, Result,
    dispatch::Bug,
    message::{MessageId, OrderingKey},
    partition::Partition,
    queue::Queue,
    store::{
        Admin, Discarded, Entry, Filter, InstanceStats, Page, PartitionStats, ReplayId,
        ReplayProgress, Replayed, Selection, Seq, State, Stats,
    },
};

/// The most rows that one replay or discard changes.
const CHANGE_MAX: usize = 10_000;

impl Filter {
    fn matches(&self, row: &Row) -> bool {
        (self.states.is_empty() || self.states.contains(&row.state))
            && self.topic.as_ref().is_none_or(|t| t == row.message.topic())
            && self.key.as_ref().is_none_or(|key| Some(key) == row.key())
            && self.partition.is_none_or(|p| p == row.partition)
    }
}

/// The places of the rows that `selection` means among those in one of `states`, by seq, and
/// whether there are more than one call takes.
fn select(table: &Table, selection: &Selection, states: &[State]) -> (Vec<(Partition, Seq)>, bool) {
    let matches = |row: &Row| match selection {
        Selection::One(id) => row.message.id() == id,
        Selection::Matching(filter) => filter.matches(row),
        Selection::PublishedSince { since, until } => {
            let reached = |at: Duration| {
                let at = SystemTime::UNIX_EPOCH + at;
                at >= *since && until.is_none_or(|until| at <= until)
            };
            row.state == State::Done && row.settled_at.is_some_and(reached)
        }
    };
    let mut places: Vec<_> = table
        .rows()
        .filter(|row| states.contains(&row.state) && matches(row))
        .map(|row| (row.seq, row.partition))
        .collect();
    places.sort_unstable();
    let more = places.len() > CHANGE_MAX;
    places.truncate(CHANGE_MAX);
    (places.into_iter().map(|(seq, p)| (p, seq)).collect(), more)
}

#[async_trait]
impl Admin for MemoryStore {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.known(queue)?;
        let now = self.now();
        let table = self.table();
        let mut stats = Stats::default();
        let mut halted = BTreeSet::<(Partition, OrderingKey)>::new();
        let mut oldest = None::<Duration>;
        for row in table.rows() {
            match row.state {
                State::Pending => stats.pending += 1,
                State::Retrying => stats.retrying += 1,
                State::Waiting => stats.waiting += 1,
                State::Dead => stats.dead += 1,
                State::Done | State::Discarded => continue,
            }
            if row.state == State::Dead {
                halted.extend(
                    row.key()
                        .filter(|_| row.halts)
                        .map(|key| (row.partition, key.clone())),
                );
            } else {
                oldest = Some(oldest.map_or(row.enqueued_at, |at| at.min(row.enqueued_at)));
            }
        }
        stats.halted_keys = u64::try_from(halted.len()).unwrap_or(u64::MAX);
        stats.oldest_pending_age = oldest.map(|at| now.saturating_sub(at));
        stats.partitions = table
            .slots
            .iter()
            .map(|(partition, slot)| PartitionStats {
                partition: *partition,
                owner: slot.owner,
                epoch: slot.epoch,
            })
            .collect();
        let mut members: Vec<_> = table.members.iter().collect();
        members.sort_by_key(|(id, member)| (member.started, **id));
        stats.instances = members
            .into_iter()
            .map(|(id, member)| InstanceStats {
                instance: *id,
                in_flight: member.in_flight,
                age: now.saturating_sub(member.started),
                expires_in: member.expires.saturating_sub(now),
            })
            .collect();
        Ok(stats)
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.known(queue)?;
        if page.limit == 0 || page.limit > 1_000 {
            return Err(Error::invalid(format!(
                "page limit is {}; it needs 1 to 1000",
                page.limit
            )));
        }
        let table = self.table();
        let mut entries: Vec<_> = table
            .rows()
            .filter(|row| page.after.is_none_or(|after| row.seq > after) && filter.matches(row))
            .map(|row| row.entry(false))
            .collect();
        entries.sort_by_key(|entry| entry.seq);
        entries.truncate(usize::from(page.limit));
        Ok(entries)
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.known(queue)?;
        let table = self.table();
        Ok(table
            .place_of(id)
            .and_then(|place| table.get(place))
            .map(|row| row.entry(true)))
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        self.known(queue)?;
        let states: &[State] = match selection {
            Selection::Matching(filter) if filter.states.is_empty() => &[State::Dead],
            _ => &[State::Dead, State::Discarded, State::Done],
        };
        let mut table = self.table();
        let (places, more) = select(&table, selection, states);
        let until = match selection {
            // Nothing is settled while the table is held: up to now is everything.
            Selection::PublishedSince { until, .. } => {
                until.or_else(|| SystemTime::UNIX_EPOCH.checked_add(self.now()))
            }
            _ => None,
        };
        let mut replayed = Replayed {
            more,
            until,
            ..Replayed::default()
        };
        for place in &places {
            replayed.count += 1;
            let Some(key) = table.get(*place).and_then(Row::key) else {
                continue;
            };
            let overtaken = table.rows().any(|row| {
                row.partition == place.0
                    && row.seq > place.1
                    && row.state == State::Done
                    && row.key() == Some(key)
            });
            replayed.out_of_order += u64::from(overtaken);
        }
        if !dry_run && !places.is_empty() {
            table.next_replay += 1;
            let replay = ReplayId(table.next_replay);
            replayed.replay = Some(replay);
            for place in places {
                table.change(place, |row| {
                    row.state = State::Pending;
                    row.revision = row.revision.next();
                    row.attempt = 0;
                    row.crashes = 0;
                    row.suspect = false;
                    row.alone = false;
                    row.halts = false;
                    row.due_at = None;
                    row.settled_at = None;
                    row.absorbed = false;
                    row.replay = Some(replay);
                });
            }
        }
        drop(table);
        self.shared.signal.wake();
        Ok(replayed)
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.known(queue)?;
        let table = self.table();
        let mut progress = ReplayProgress::default();
        for row in table.rows().filter(|row| row.replay == Some(replay)) {
            match row.state {
                State::Pending | State::Retrying | State::Waiting => progress.unsettled += 1,
                State::Done => {
                    progress.published += 1;
                    progress.absorbed += u64::from(row.absorbed);
                }
                State::Dead => progress.dead += 1,
                State::Discarded => {}
            }
        }
        Ok(progress)
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        self.known(queue)?;
        let open = [State::Pending, State::Retrying, State::Waiting, State::Dead];
        let now = self.now();
        let mut table = self.table();
        let (places, more) = select(&table, selection, &open);
        let count = u64::try_from(places.len()).unwrap_or(u64::MAX);
        if !dry_run {
            for place in places {
                table.change(place, |row| {
                    row.state = State::Discarded;
                    row.revision = row.revision.next();
                    row.halts = false;
                    row.suspect = false;
                    row.due_at = None;
                    row.settled_at = Some(now);
                });
            }
        }
        drop(table);
        self.shared.signal.wake();
        Ok(Discarded { count, more })
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.known(queue)?;
        let now = self.now();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut table = self.table();
        // Ids first, so that an id outlives its message until the next purge at least.
        table.forget_ids(now.saturating_sub(retention), limit);
        let any = table.has(Bug::PurgesUnsettled);
        let mut old: Vec<_> = table
            .rows()
            .filter(|row| any || matches!(row.state, State::Done | State::Discarded))
            .filter_map(|row| {
                let settled = row.settled_at.or(any.then_some(row.enqueued_at))?;
                Some((settled, row.partition, row.seq))
            })
            .filter(|(settled, ..)| settled.saturating_add(retention) < now)
            .collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, partition, seq) in &old {
            table.remove((*partition, *seq));
        }
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }
}
