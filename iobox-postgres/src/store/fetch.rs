//! Fetching: one statement for what is due, and what it needs before and after.

use std::collections::HashMap;

use iobox_core::{
    Result,
    partition::Partition,
    store::{FetchPartition, FetchRequest, Fetched, Seq},
};

use super::{PostgresStore, bound};
use crate::{
    error::from_sqlx,
    row::{self, FetchedRow},
};

impl PostgresStore {
    pub(super) async fn fetch_due(&self, request: &FetchRequest) -> Result<Fetched> {
        self.known(&request.queue)?;
        let mut fetched = Fetched {
            released: self.release_waiting(request).await?,
            ..Fetched::default()
        };
        let parts = &request.partitions;
        let numbers: Vec<i16> = parts.iter().map(|part| self.number(part)).collect();
        let limits: Vec<i64> = parts.iter().map(|part| bound(part.limit)).collect();
        let held: Vec<i64> = parts
            .iter()
            .flat_map(|part| part.held.iter().map(|seq| seq.0))
            .collect();
        let (homes, full): (Vec<i16>, Vec<&str>) = parts
            .iter()
            .flat_map(|part| {
                part.full
                    .iter()
                    .map(|key| (self.number(part), key.as_str()))
            })
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
        let mut in_the_way = Vec::new();
        let mut topic = None;
        for row in &rows {
            match row::fetched(row, origin, &mut topic)? {
                FetchedRow::Pending(pending) => fetched.pending.push(pending),
                FetchedRow::InTheWay(partition, key) => in_the_way.push((partition, key)),
                FetchedRow::More(partition) => fetched.more.push(partition),
                FetchedRow::Snapshot(snapshot) => self.hints.note(parts, &snapshot),
            }
        }
        if !in_the_way.is_empty() {
            fetched.aside = self.set_aside(request, &in_the_way).await?;
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
            .more
            .sort_unstable_by_key(|&partition| place(partition));
        Ok(fetched)
    }
}

impl PostgresStore {
    /// The number of a partition in the tables.
    pub(super) fn number(&self, part: &FetchPartition) -> i16 {
        self.shelf.number(part.partition)
    }
}
