//! Administration: what a person sees of the messages, and does with them.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use iobox::{
    Error, Result,
    message::MessageId,
    partition::Partition,
    queue::Queue,
    store::{
        Admin, Discarded, Entry, Epoch, Filter, InstanceId, InstanceStats, Page, PartitionStats,
        ReplayId, ReplayProgress, Replayed, Selection, State, Stats,
    },
};
use uuid::Uuid;

use super::{
    row::{Place, Row},
    store::FileStore,
    table::{Change, Table},
};

/// The most rows that one replay or discard changes.
const CHANGE_MAX: usize = 10_000;

fn matches(filter: &Filter, row: &Row) -> bool {
    let topic = filter.topic.as_ref().map(|topic| topic.as_str());
    let key = filter.key.as_ref().map(|key| key.as_str());
    (filter.states.is_empty() || filter.states.contains(&row.status.state()))
        && topic.is_none_or(|topic| topic == row.topic)
        && key.is_none_or(|key| Some(key) == row.key.as_deref())
        && filter
            .partition
            .is_none_or(|partition| partition.number() == row.place.0)
}

impl Table {
    /// The places of what is selected and in one of `states`, by seq, and whether there are more
    /// than one call takes.
    fn select(&self, selection: &Selection, states: &[State]) -> (Vec<Place>, bool) {
        let selected = |row: &Row| match selection {
            Selection::One(id) => row.id == id.as_str(),
            Selection::Matching(filter) => matches(filter, row),
            Selection::PublishedSince { since, until } => {
                let at = row.status.settled_at.map(|at| SystemTime::UNIX_EPOCH + at);
                row.status.state() == State::Done
                    && at.is_some_and(|at| at >= *since && until.is_none_or(|until| at <= until))
            }
            _ => false,
        };
        let rows = self.rows.values();
        let rows = rows.filter(|row| states.contains(&row.status.state()) && selected(row));
        let mut places: Vec<Place> = rows.map(|row| row.place).collect();
        places.sort_unstable_by_key(|place| place.1);
        let more = places.len() > CHANGE_MAX;
        places.truncate(CHANGE_MAX);
        (places, more)
    }

    /// How many of `places` come after later messages of their key that are done already.
    fn out_of_order(&self, places: &[Place]) -> u64 {
        let mut last = HashMap::new();
        for row in self.rows.values() {
            if row.status.state() == State::Done {
                last.insert(row.key.as_deref(), row.place.1);
            }
        }
        let overtaken = |place: &&Place| {
            let key = self.rows.get(*place).and_then(|row| row.key.as_deref());
            key.is_some() && last.get(&key).is_some_and(|last| *last > place.1)
        };
        places.iter().filter(overtaken).count() as u64
    }

    fn stats(&self, now: Duration) -> Stats {
        let mut stats = Stats::default();
        let (mut halted, mut oldest) = (BTreeSet::new(), None::<Duration>);
        for row in self.rows.values() {
            match row.status.state() {
                State::Pending => stats.pending += 1,
                State::Retrying => stats.retrying += 1,
                State::Waiting => stats.waiting += 1,
                State::Dead => stats.dead += 1,
                _ => {}
            }
            if row.status.is_open() {
                oldest = Some(oldest.map_or(row.enqueued_at, |at| at.min(row.enqueued_at)));
            } else if row.status.blocks() {
                halted.extend(row.key.as_deref());
            }
        }
        stats.halted_keys = halted.len() as u64;
        stats.oldest_pending_age = oldest.map(|at| now.saturating_sub(at));
        let instance = |id: u128| InstanceId::new(Uuid::from_u128(id));
        let slots = self.slots.iter().map(|(number, slot)| PartitionStats {
            partition: Partition::new(*number),
            owner: slot.owner.map(instance),
            epoch: Epoch(slot.epoch),
        });
        stats.partitions = slots.collect();
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(id, member)| (member.started, **id));
        let members = members.into_iter().map(|(id, member)| InstanceStats {
            instance: instance(*id),
            in_flight: member.in_flight,
            age: now.saturating_sub(member.started),
            expires_in: member.expires.saturating_sub(now),
        });
        stats.instances = members.collect();
        stats
    }
}

#[async_trait]
impl Admin for FileStore {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        self.known(queue)?;
        self.run(|edit, now| Ok(edit.stats(now))).await
    }

    async fn list(&self, queue: &Queue, filter: &Filter, page: Page) -> Result<Vec<Entry>> {
        self.known(queue)?;
        if !(1..=1_000).contains(&page.limit) {
            let message = format!("page limit is {}; it needs 1 to 1000", page.limit);
            return Err(Error::invalid(message));
        }
        let filter = filter.clone();
        self.run(move |edit, _| {
            let after = page.after.map_or(i64::MIN, |seq| seq.0);
            let rows = edit.rows.values();
            let rows = rows.filter(|row| row.place.1 > after && matches(&filter, row));
            let mut rows: Vec<&Row> = rows.collect();
            rows.sort_unstable_by_key(|row| row.place.1);
            rows.truncate(usize::from(page.limit));
            Ok(rows.into_iter().map(|row| row.entry(None)).collect())
        })
        .await
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.known(queue)?;
        let id = id.to_string();
        self.run(move |edit, _| {
            let row = edit.row_of(&id);
            Ok(row.map(|row| row.entry(Some(edit.origin()))))
        })
        .await
    }

    async fn replay(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Replayed> {
        self.known(queue)?;
        let selection = selection.clone();
        let replayed = self.run(move |edit, now| {
            let states: &[State] = match &selection {
                Selection::Matching(filter) if filter.states.is_empty() => &[State::Dead],
                _ => &[State::Dead, State::Discarded, State::Done],
            };
            let (places, more) = edit.select(&selection, states);
            let mut replayed = Replayed {
                count: places.len() as u64,
                out_of_order: edit.out_of_order(&places),
                more,
                ..Replayed::default()
            };
            if let Selection::PublishedSince { until, .. } = selection {
                // Nothing is settled during the transaction: up to now is everything.
                replayed.until = until.or_else(|| SystemTime::UNIX_EPOCH.checked_add(now));
            }
            if dry_run || places.is_empty() {
                return Ok(replayed);
            }
            let number = edit.last_replay + 1;
            replayed.replay = Some(ReplayId(number));
            for place in places {
                edit.set(place, |status| {
                    status.to(State::Pending);
                    status.revision += 1;
                    (status.attempt, status.crashes) = (0, 0);
                    (status.suspect, status.alone, status.halts) = (false, false, false);
                    (status.due_at, status.settled_at) = (None, None);
                    status.absorbed = false;
                    status.replay = Some(number);
                });
            }
            Ok(replayed)
        });
        let replayed = replayed.await?;
        self.signal.wake();
        Ok(replayed)
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.known(queue)?;
        self.run(move |edit, _| {
            let mut progress = ReplayProgress::default();
            for row in edit.rows.values().filter(|row| row.is_of(replay)) {
                match row.status.state() {
                    State::Done => {
                        progress.published += 1;
                        progress.absorbed += u64::from(row.status.absorbed);
                    }
                    State::Dead => progress.dead += 1,
                    State::Discarded => {}
                    _ => progress.unsettled += 1,
                }
            }
            Ok(progress)
        })
        .await
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        self.known(queue)?;
        let selection = selection.clone();
        let discarded = self.run(move |edit, now| {
            let states = [State::Pending, State::Retrying, State::Waiting, State::Dead];
            let (places, more) = edit.select(&selection, &states);
            let count = places.len() as u64;
            for place in places.into_iter().filter(|_| !dry_run) {
                edit.set(place, |status| {
                    status.to(State::Discarded);
                    status.revision += 1;
                    (status.suspect, status.halts) = (false, false);
                    (status.due_at, status.settled_at) = (None, Some(now));
                });
            }
            Ok(Discarded { count, more })
        });
        let discarded = discarded.await?;
        self.signal.wake();
        Ok(discarded)
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.known(queue)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.run(move |edit, now| {
            // Ids first, so that an id outlives its message until the next purge at least.
            let before = now.saturating_sub(retention);
            let gone = |place: &Place| !edit.rows.contains_key(place);
            let ids = edit
                .ids
                .iter()
                .filter(|(_, (place, at))| *at < before && gone(place));
            let mut ids: Vec<_> = ids
                .map(|(id, (place, at))| (*at, *place, id.clone()))
                .collect();
            ids.sort_unstable();
            for (_, _, id) in ids.into_iter().take(limit) {
                edit.make(Change::Forgotten(id));
            }
            let closed = |row: &&Row| matches!(row.status.state(), State::Done | State::Discarded);
            let rows = edit.rows.values().filter(closed);
            let rows = rows.filter_map(|row| Some((row.status.settled_at?, row.place)));
            let mut old: Vec<_> = rows
                .filter(|(at, _)| at.saturating_add(retention) < now)
                .collect();
            old.sort_unstable();
            old.truncate(limit);
            for (_, place) in &old {
                edit.make(Change::Purged(*place));
            }
            Ok(old.len() as u64)
        })
        .await
    }
}
