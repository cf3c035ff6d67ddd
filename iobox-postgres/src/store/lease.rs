//! Leases: renewing on a connection of its own, acquiring and releasing in one statement each.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use iobox_core::{
    Error, Result,
    store::{AcquireRequest, Acquired, Epoch, Grant, ReleaseRequest, RenewRequest, Renewed},
};

use super::{PostgresStore, micros};
use crate::{
    error::from_sqlx,
    row::{get, partition},
};

/// How often an acquisition looks again when everything that is free is locked.
const MISSED_MAX: usize = 20;
/// How long it waits between two looks.
const MISSED_PAUSE: Duration = Duration::from_millis(5);

/// The shortest lease that was ever renewed through a store: for no longer may a session stand idle in
/// a transaction in which it holds a fence.
#[derive(Debug)]
pub(super) struct ShortestLease(AtomicU64);

impl ShortestLease {
    /// As long as nothing was renewed, `longest`; never more than that.
    pub(super) fn new(longest: Duration) -> Self {
        Self(AtomicU64::new(millis(longest)))
    }

    fn note(&self, ttl: Duration) {
        self.0.fetch_min(millis(ttl), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// In whole milliseconds, as Postgres takes it; 0 would mean for ever.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(u64::MAX, |ms| ms.max(1))
}

impl PostgresStore {
    pub(super) async fn renew_instance(&self, request: &RenewRequest) -> Result<Renewed> {
        self.shortest_lease.note(request.ttl);
        let statement = if request.register {
            &self.sql.lease.register
        } else {
            &self.sql.lease.renew
        };
        let query = statement
            .query()
            .bind(self.known(&request.queue)?.to_owned())
            .bind(request.instance.to_string())
            .bind(micros(request.ttl))
            .bind(i32::try_from(request.in_flight).unwrap_or(i32::MAX));
        let mut slot = self.renewals.lock().await;
        // Taken out of the slot while it is used: after an error, or when this future is dropped in
        // the middle, the connection goes with it and the next renewal opens another.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.connector.connect().await?,
        };
        let done = query
            .execute(&mut connection)
            .await
            .map_err(|source| from_sqlx("renewing", source))?;
        *slot = Some(connection);
        Ok(match done.rows_affected() {
            0 => Renewed::Gone,
            _ => Renewed::Alive,
        })
    }

    /// Acquires, and looks again for a moment when all that is free is locked: by a settle of the
    /// last owner, which ends at once, or by another taker.
    #[allow(
        clippy::disallowed_methods,
        reason = "a pause between two statements on a real server"
    )]
    pub(super) async fn acquire_partitions(&self, request: &AcquireRequest) -> Result<Acquired> {
        for _ in 0..MISSED_MAX {
            let (acquired, missed) = self.acquire_once(request).await?;
            if !missed {
                return Ok(acquired);
            }
            tokio::time::sleep(MISSED_PAUSE).await;
        }
        self.acquire_once(request)
            .await
            .map(|(acquired, _)| acquired)
    }

    async fn acquire_once(&self, request: &AcquireRequest) -> Result<(Acquired, bool)> {
        let held = request.held.iter();
        let (held, epochs): (Vec<i16>, Vec<i64>) = held
            .map(|(partition, epoch)| (self.shelf.number(*partition), epoch.0))
            .unzip();
        let rows = self
            .sql
            .lease
            .acquire
            .query()
            .bind(self.known(&request.queue)?.to_owned())
            .bind(request.instance.to_string())
            .bind(held)
            .bind(epochs)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| from_sqlx("acquiring", source))?;
        let Some(first) = rows.first() else {
            return Ok((Acquired::Gone, false));
        };
        let share = u16::try_from(get::<i64>(first, 0)?)
            .map_err(|_| Error::internal("the share is not a number of partitions"))?;
        let missed: bool = get(first, 4)?;
        let mut granted = Vec::with_capacity(rows.len());
        for row in &rows {
            // One row without a partition says that nothing was got.
            if let Some(number) = get::<Option<i16>>(row, 1)? {
                granted.push(Grant {
                    partition: partition(number)?,
                    epoch: Epoch(get(row, 2)?),
                    abandoned: get(row, 3)?,
                });
            }
        }
        let missed = missed && granted.is_empty();
        Ok((Acquired::Share { share, granted }, missed))
    }

    pub(super) async fn release_partitions(&self, request: &ReleaseRequest) -> Result<()> {
        let (numbers, epochs): (Vec<i16>, Vec<i64>) = request
            .partitions
            .iter()
            .map(|grant| (self.shelf.number(grant.partition), grant.epoch.0))
            .unzip();
        let abandoned: Vec<bool> = request
            .partitions
            .iter()
            .map(|grant| grant.abandoned)
            .collect();
        self.sql
            .lease
            .release
            .query()
            .bind(self.known(&request.queue)?.to_owned())
            .bind(request.instance.to_string())
            .bind(numbers)
            .bind(epochs)
            .bind(request.leave)
            .bind(abandoned)
            .execute(&self.pool)
            .await
            .map_err(|source| from_sqlx("releasing", source))?;
        Ok(())
    }
}
