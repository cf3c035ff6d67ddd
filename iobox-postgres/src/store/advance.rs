//! Advancing: settling what is done as a whole, without a word for each message.

use std::collections::HashSet;

use iobox_core::{
    Result,
    partition::Partition,
    store::{Change, Revision, Settled, Settlement, Verdict},
};

use super::PostgresStore;
use crate::{error::from_sqlx, row::get};

/// What the log takes without a word: done at the first attempt.
const PLAIN: Change = Change::Verdict(Verdict::Done { duplicate: false });

impl PostgresStore {
    /// Moves the cursors of those partitions of which `batch` has all that is pending up to some seq,
    /// and returns what became of it; `None` stands for what is to be settled in another way.
    ///
    /// The batch is in order of partition and seq, with one epoch for each partition.
    pub(super) async fn advance(&self, batch: &[&Settlement]) -> Result<Vec<Option<Settled>>> {
        let mut results = vec![None; batch.len()];
        if !self.shelf.is_log() {
            return Ok(results);
        }
        let stretches = Stretches::of(batch);
        if stretches.homes.is_empty() {
            return Ok(results);
        }
        let numbers = stretches.homes.iter().map(|&home| self.shelf.number(home));
        let numbers: Vec<i16> = numbers.collect();
        let (mut latest, mut earlier) = (Vec::new(), Vec::new());
        for &home in &stretches.homes {
            let (oldest, newest) = self.hints.both(home).unzip();
            latest.push(newest.flatten());
            earlier.push(oldest);
        }
        let row = self
            .sql
            .advance
            .advance
            .query()
            .bind(self.shelf.queue.clone())
            .bind(numbers)
            .bind(stretches.epochs)
            .bind(stretches.seqs)
            .bind(stretches.first)
            .bind(stretches.last)
            .bind(latest)
            .bind(earlier)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| from_sqlx("settling", source))?;
        let held: HashSet<i16> = get::<Vec<i16>>(&row, 0)?.into_iter().collect();
        let moved: Vec<i16> = get(&row, 1)?;
        let seen: Vec<String> = get(&row, 2)?;
        for &home in &stretches.homes {
            let number = self.shelf.number(home);
            if let Some(at) = moved.iter().position(|&moved| moved == number)
                && let Some(snapshot) = seen.get(at)
            {
                self.hints.reached(home, snapshot);
            }
        }
        let homes: HashSet<Partition> = stretches.homes.into_iter().collect();
        for (result, one) in results.iter_mut().zip(batch) {
            let number = self.shelf.number(one.partition);
            if !homes.contains(&one.partition) {
                continue;
            } else if !held.contains(&number) {
                *result = Some(Settled::LeaseLost);
            } else if moved.contains(&number) {
                *result = Some(Settled::Applied);
            }
        }
        Ok(results)
    }
}

/// Those partitions of a batch of which every message is plain.
#[derive(Default)]
struct Stretches {
    homes: Vec<Partition>,
    epochs: Vec<i64>,
    seqs: Vec<i64>,
    /// The place of the first seq of each partition, counted from 1, and of the last.
    first: Vec<i32>,
    last: Vec<i32>,
}

impl Stretches {
    fn of(batch: &[&Settlement]) -> Self {
        let mut stretches = Self::default();
        for part in batch.chunk_by(|one, next| one.partition == next.partition) {
            // What is logged was never changed.
            let is_plain = |one: &&Settlement| {
                one.change == PLAIN && one.attempt == 1 && one.revision == Revision(0)
            };
            if let [head, ..] = part
                && part.iter().all(is_plain)
            {
                stretches.homes.push(head.partition);
                stretches.epochs.push(head.epoch.0);
                stretches.first.push(place(stretches.seqs.len() + 1));
                stretches.seqs.extend(part.iter().map(|one| one.seq.0));
                stretches.last.push(place(stretches.seqs.len()));
            }
        }
        stretches
    }
}

/// A place in an array of the database.
fn place(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}
