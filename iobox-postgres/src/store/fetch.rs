//! Fetching: releasing what waits no longer, then one statement for what is due.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use iobox_core::{
    Result,
    message::OrderingKey,
    partition::Partition,
    store::{FetchPartition, FetchRequest, Fetched, Seq},
};

use super::{PostgresStore, bound, name};
use crate::{
    error::from_sqlx,
    row::{self, FetchedRow, get},
};

/// The key behind which the next sweep of a partition starts, so that sweeps that look at a bounded
/// number of keys come to all of them. Lost with the process, and harmless then.
#[derive(Debug, Default)]
pub(super) struct Sweeps(Mutex<HashMap<Partition, String>>);

impl Sweeps {
    fn start(&self, partition: Partition) -> String {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&partition).cloned().unwrap_or_default()
    }

    fn end(&self, partition: Partition, place: Option<String>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match place {
            Some(place) => places.insert(partition, place),
            None => places.remove(&partition),
        };
    }
}

impl PostgresStore {
    pub(super) async fn fetch_due(&self, request: &FetchRequest) -> Result<Fetched> {
        let mut fetched = Fetched {
            released: self.release_waiting(request).await?,
            ..Fetched::default()
        };
        let parts = &request.partitions;
        let numbers: Vec<i16> = parts.iter().map(number).collect();
        let limits: Vec<i64> = parts.iter().map(|part| bound(part.limit)).collect();
        let held: Vec<i64> = parts
            .iter()
            .flat_map(|part| part.held.iter().map(|seq| seq.0))
            .collect();
        let (homes, full): (Vec<i16>, Vec<&str>) = parts
            .iter()
            .flat_map(|part| part.full.iter().map(|key| (number(part), key.as_str())))
            .unzip();
        let rows = self
            .sql
            .fetch
            .fetch
            .query()
            .bind(numbers)
            .bind(limits)
            .bind(held)
            .bind(full)
            .bind(bound(request.limit))
            .bind(bound(request.bytes))
            .bind(homes)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| from_sqlx("fetching", source))?;
        let origin = self.info().await?.origin;
        for row in &rows {
            match row::fetched(row, origin)? {
                FetchedRow::Pending(pending) => fetched.pending.push(pending),
                FetchedRow::Aside(aside) => fetched.aside.push(aside),
                FetchedRow::More(partition) => fetched.more.push(partition),
            }
        }
        let places: HashMap<Partition, usize> = parts
            .iter()
            .enumerate()
            .map(|(place, part)| (part.partition, place))
            .collect();
        let place = |partition: Partition| places.get(&partition).copied();
        let order = |partition: Partition, seq: Seq| (place(partition), seq);
        fetched
            .pending
            .sort_unstable_by_key(|row| order(row.partition, row.seq));
        fetched
            .aside
            .sort_unstable_by_key(|row| order(row.partition, row.seq));
        fetched
            .more
            .sort_unstable_by_key(|&partition| place(partition));
        Ok(fetched)
    }

    async fn release_waiting(
        &self,
        request: &FetchRequest,
    ) -> Result<Vec<(Partition, OrderingKey)>> {
        let mut keys: Vec<(i16, String)> = request
            .partitions
            .iter()
            .flat_map(|part| {
                let number = number(part);
                part.release
                    .iter()
                    .map(move |key| (number, key.as_str().to_owned()))
            })
            .collect();
        self.sweep(&request.partitions, &mut keys).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (fence, epochs): (Vec<i16>, Vec<i64>) = request
            .partitions
            .iter()
            .map(|part| (number(part), part.epoch.0))
            .unzip();
        let (numbers, keys): (Vec<i16>, Vec<String>) = keys.into_iter().unzip();
        self.sql
            .fetch
            .release
            .query()
            .bind(name(&request.queue)?)
            .bind(fence)
            .bind(epochs)
            .bind(numbers)
            .bind(keys)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| from_sqlx("releasing waiting messages", source))?
            .iter()
            .map(|row| {
                let key = OrderingKey::stored(get::<String>(row, 1)?);
                Ok((row::partition(get(row, 0)?)?, key))
            })
            .collect()
    }

    /// Adds the keys that have waiting rows and nothing in front of them.
    async fn sweep(&self, parts: &[FetchPartition], keys: &mut Vec<(i16, String)>) -> Result<()> {
        let swept = || parts.iter().filter(|part| part.sweep);
        let numbers: Vec<i16> = swept().map(number).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let starts: Vec<String> = swept()
            .map(|part| self.sweeps.start(part.partition))
            .collect();
        let rows = self
            .sql
            .fetch
            .sweep
            .query()
            .bind(numbers)
            .bind(starts)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| from_sqlx("sweeping waiting messages", source))?;
        let mut ends: HashMap<Partition, Option<String>> =
            swept().map(|part| (part.partition, None)).collect();
        for row in &rows {
            let number: i16 = get(row, 0)?;
            let key: String = get(row, 1)?;
            if get(row, 3)? {
                ends.insert(row::partition(number)?, Some(key.clone()));
            }
            if get(row, 2)? {
                keys.push((number, key));
            }
        }
        for (partition, end) in ends {
            self.sweeps.end(partition, end);
        }
        Ok(())
    }
}

fn number(part: &FetchPartition) -> i16 {
    i16::from(part.partition.number())
}
