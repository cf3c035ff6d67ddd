//! Waiting: setting aside what is in the way, and releasing it again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use iobox_core::{
    Result,
    message::OrderingKey,
    partition::Partition,
    store::{Aside, FetchPartition, FetchRequest, Seq},
};

use sqlx::postgres::PgRow;

use super::PostgresStore;
use crate::{
    error::from_sqlx,
    row::{self, get},
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

/// How many looks at crowds one call takes at most.
const PARKS_MAX: u32 = 9;

impl PostgresStore {
    /// Makes rows of these keys waiting, of those partitions that the caller still holds.
    pub(super) async fn set_aside(
        &self,
        request: &FetchRequest,
        in_the_way: &[(Partition, OrderingKey)],
    ) -> Result<Vec<Aside>> {
        let (mut fence, mut epochs, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let (mut homes, mut keys, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for part in &request.partitions {
            let before = keys.len();
            for (_, key) in in_the_way
                .iter()
                .filter(|(home, _)| *home == part.partition)
            {
                homes.push(self.number(part));
                keys.push(key.as_str());
                full.push(part.full.contains(key));
            }
            if keys.len() > before {
                fence.push(self.number(part));
                epochs.push(part.epoch.0);
                held.extend(part.held.iter().map(|seq| seq.0));
            }
        }
        let queue = self.known(&request.queue)?.to_owned();
        // Crowds first: what is parked need not be moved.
        let mut parks = if self.shelf.is_log() { PARKS_MAX } else { 0 };
        let mut aside: Vec<Aside> = Vec::new();
        loop {
            let parking = parks > 0;
            let statement = if parking {
                &self.sql.crowd.park
            } else {
                &self.sql.waiting.set_aside
            };
            let rows = statement
                .query()
                .bind(queue.clone())
                .bind(fence.clone())
                .bind(epochs.clone())
                .bind(homes.clone())
                .bind(keys.clone())
                .bind(full.clone())
                .bind(held.clone())
                .fetch_all(&self.pool)
                .await
                .map_err(|source| from_sqlx("setting messages aside", source))?;
            let mut fills = false;
            for row in &rows {
                add(&mut aside, one(row)?);
                fills |= parking && get(row, 4)?;
            }
            if !parking {
                return Ok(aside);
            }
            // Behind a crowd that fills a look, a fetch would find nothing but the rest of it.
            parks = if fills { parks - 1 } else { 0 };
        }
    }

    pub(super) async fn release_waiting(
        &self,
        request: &FetchRequest,
    ) -> Result<Vec<(Partition, OrderingKey)>> {
        let mut keys: Vec<(i16, String)> = request
            .partitions
            .iter()
            .flat_map(|part| {
                let number = self.number(part);
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
            .map(|part| (self.number(part), part.epoch.0))
            .unzip();
        let (numbers, keys): (Vec<i16>, Vec<String>) = keys.into_iter().unzip();
        let queue = self.known(&request.queue)?.to_owned();
        let mut statements = vec![&self.sql.waiting.release];
        if self.shelf.is_log() {
            statements.push(&self.sql.crowd.unpark);
        }
        let mut released = Vec::new();
        for statement in statements {
            let rows = statement
                .query()
                .bind(queue.clone())
                .bind(fence.clone())
                .bind(epochs.clone())
                .bind(numbers.clone())
                .bind(keys.clone())
                .fetch_all(&self.pool)
                .await
                .map_err(|source| from_sqlx("releasing waiting messages", source))?;
            for row in &rows {
                let key = OrderingKey::stored(get::<String>(row, 1)?);
                let one = (row::partition(get(row, 0)?)?, key);
                if !released.contains(&one) {
                    released.push(one);
                }
            }
        }
        Ok(released)
    }

    /// Adds the keys that have waiting rows and nothing in front of them.
    async fn sweep(&self, parts: &[FetchPartition], keys: &mut Vec<(i16, String)>) -> Result<()> {
        let swept = || parts.iter().filter(|part| part.sweep);
        let numbers: Vec<i16> = swept().map(|part| self.number(part)).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let starts: Vec<String> = swept()
            .map(|part| self.sweeps.start(part.partition))
            .collect();
        let rows = self
            .sql
            .waiting
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

fn one(row: &PgRow) -> Result<Aside> {
    Ok(Aside {
        partition: row::partition(get(row, 0)?)?,
        key: OrderingKey::stored(get::<String>(row, 1)?),
        first: Seq(get(row, 2)?),
        count: usize::try_from(get::<i64>(row, 3)?).unwrap_or(usize::MAX),
    })
}

/// Adds rows of a key to those that are known of it.
fn add(aside: &mut Vec<Aside>, more: Aside) {
    let known = aside
        .iter_mut()
        .find(|one| one.partition == more.partition && one.key == more.key);
    match known {
        Some(known) => {
            known.first = known.first.min(more.first);
            known.count += more.count;
        }
        None => aside.push(more),
    }
}
