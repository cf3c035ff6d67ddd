//! Administration: looking at messages, putting them back, closing them, removing old ones.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    message::MessageId,
    queue::Queue,
    store::{
        Admin, Discarded, Entry, Epoch, Filter, InstanceId, InstanceStats, Page, PartitionStats,
        ReplayId, ReplayProgress, Replayed, Selection, State, Stats,
    },
};
use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::{PostgresStore, micros};
use crate::{
    error::from_sqlx,
    row::{self, duration, get},
};

/// States that a replay puts back.
const REPLAYABLE: [State; 3] = [State::Dead, State::Discarded, State::Done];
/// States that a discard closes.
const DISCARDABLE: [State; 4] = [State::Pending, State::Retrying, State::Waiting, State::Dead];

#[async_trait]
impl Admin for PostgresStore {
    async fn stats(&self, queue: &Queue) -> Result<Stats> {
        let queue = self.known(queue)?.to_owned();
        let admin = &self.sql.admin;
        let counts = self.one(admin.counts.query()).await?;
        let partitions = self
            .all(admin.partitions.query().bind(queue.clone()))
            .await?;
        let instances = self.all(admin.instances.query().bind(queue)).await?;
        let mut stats = Stats::default();
        stats.pending = number(&counts, 0)?;
        stats.retrying = number(&counts, 1)?;
        stats.waiting = number(&counts, 2)?;
        stats.dead = number(&counts, 3)?;
        stats.halted_keys = number(&counts, 4)?;
        stats.oldest_pending_age = get::<Option<i64>>(&counts, 5)?.map(duration);
        stats.partitions = partitions.iter().map(partition).collect::<Result<_>>()?;
        stats.instances = instances.iter().map(instance).collect::<Result<_>>()?;
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
        let query = self
            .filter(&self.sql.admin.list, filter, &State::ALL)
            .bind(page.after.map_or(i64::MIN, |seq| seq.0))
            .bind(i64::from(page.limit));
        let rows = self.all(query).await?;
        rows.iter().map(|row| row::entry(row, None)).collect()
    }

    async fn get(&self, queue: &Queue, id: &MessageId) -> Result<Option<Entry>> {
        self.known(queue)?;
        let origin = self.info().await?.origin;
        let query = self.sql.admin.get.query().bind(id.as_str().to_owned());
        let rows = self.all(query).await?;
        rows.first()
            .map(|row| row::entry(row, Some(origin)))
            .transpose()
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
            _ => &REPLAYABLE,
        };
        let until = match selection {
            Selection::PublishedSince { until, .. } => Some(match until {
                Some(until) => *until,
                None => self.time().await?,
            }),
            _ => None,
        };
        let bounded = match selection {
            Selection::PublishedSince { since, .. } => &Selection::PublishedSince {
                since: *since,
                until,
            },
            other => other,
        };
        let query = self.selection(bounded, states, |sql| &sql.replay, dry_run);
        let row = self.change(query).await?;
        self.signal.wake();
        Ok(Replayed {
            until,
            replay: get::<Option<i64>>(&row, 0)?.map(ReplayId),
            count: number(&row, 1)?,
            out_of_order: number(&row, 2)?,
            more: get(&row, 3)?,
        })
    }

    async fn replay_progress(&self, queue: &Queue, replay: ReplayId) -> Result<ReplayProgress> {
        self.known(queue)?;
        let row = self
            .one(self.sql.admin.progress.query().bind(replay.0))
            .await?;
        Ok(ReplayProgress {
            unsettled: number(&row, 0)?,
            published: number(&row, 1)?,
            absorbed: number(&row, 2)?,
            dead: number(&row, 3)?,
        })
    }

    async fn discard(
        &self,
        queue: &Queue,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Discarded> {
        self.known(queue)?;
        let query = self.selection(selection, &DISCARDABLE, |sql| &sql.discard, dry_run);
        let row = self.change(query).await?;
        self.signal.wake();
        Ok(Discarded {
            count: number(&row, 0)?,
            more: get(&row, 1)?,
        })
    }

    async fn purge(&self, queue: &Queue, retention: Duration, limit: u32) -> Result<u64> {
        self.known(queue)?;
        let run = async |query: Query<'static, Postgres, PgArguments>| {
            query
                .bind(micros(retention))
                .bind(i64::from(limit))
                .execute(&self.pool)
                .await
                .map_err(|source| from_sqlx("purging", source))
        };
        // Ids first, so that an id outlives its message until the next purge at least.
        if *queue == Queue::Outbox {
            run(self.sql.admin.purge_ids.query()).await?;
        }
        let apart = run(self.sql.admin.purge.query()).await?.rows_affected();
        let left = u64::from(limit).saturating_sub(apart);
        if left == 0 || !self.shelf.is_log() {
            return Ok(apart);
        }
        let query = self.sql.cursor.purge.query().bind(micros(retention));
        let row = query
            .bind(i64::try_from(left).unwrap_or(i64::MAX))
            .fetch_one(&self.pool)
            .await
            .map_err(|source| from_sqlx("purging", source))?;
        Ok(apart + number(&row, 0)?)
    }
}

impl PostgresStore {
    /// The time by the clock of the store.
    async fn time(&self) -> Result<SystemTime> {
        let row = self.one(self.sql.admin.now.query()).await?;
        Ok(SystemTime::UNIX_EPOCH + duration(get(&row, 0)?))
    }

    /// Runs a change by a person. Of a log the cursors stand still meanwhile, so that no message is
    /// settled between the look at it and its change.
    async fn change(&self, query: Query<'static, Postgres, PgArguments>) -> Result<PgRow> {
        if !self.shelf.is_log() {
            return self.one(query).await;
        }
        // In a task of its own, which nobody can cancel: a `begin` that is dropped half way leaves its
        // transaction to the next one who gets the connection.
        let (pool, lock) = (self.admin_pool.clone(), self.sql.admin.lock.query());
        let running = tokio::spawn(async move {
            let mut transaction = pool.begin().await?;
            lock.execute(&mut *transaction).await?;
            let row = query.fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(row)
        });
        running
            .await
            .map_err(|source| Error::internal("administration panicked").with_source(source))?
            .map_err(|source| from_sqlx("administration", source))
    }

    async fn all(&self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        query
            .fetch_all(&self.admin_pool)
            .await
            .map_err(|source| from_sqlx("administration", source))
    }

    async fn one(&self, query: Query<'static, Postgres, PgArguments>) -> Result<PgRow> {
        query
            .fetch_one(&self.admin_pool)
            .await
            .map_err(|source| from_sqlx("administration", source))
    }
}

fn number(row: &PgRow, at: usize) -> Result<u64> {
    u64::try_from(get::<i64>(row, at)?)
        .map_err(|_| Error::internal("the server counted less than nothing"))
}

fn partition(row: &PgRow) -> Result<PartitionStats> {
    Ok(PartitionStats {
        partition: row::partition(get(row, 0)?)?,
        owner: get::<Option<&str>>(row, 1)?
            .map(id)
            .transpose()?
            .filter(|owner| !owner.as_uuid().is_nil()),
        epoch: Epoch(get(row, 2)?),
    })
}

fn instance(row: &PgRow) -> Result<InstanceStats> {
    Ok(InstanceStats {
        instance: id(get(row, 0)?)?,
        in_flight: u32::try_from(get::<i32>(row, 1)?).unwrap_or(0),
        age: duration(get(row, 2)?),
        expires_in: duration(get(row, 3)?),
    })
}

fn id(text: &str) -> Result<InstanceId> {
    Uuid::parse_str(text)
        .map(InstanceId::new)
        .map_err(|source| Error::corrupt("a stored instance is not a UUID").with_source(source))
}
