//! Settling: a fenced statement for what is done as a whole, and one for everything else.

use std::collections::{HashMap, HashSet};

use iobox_core::{
    Error, Result,
    partition::Partition,
    store::{Change, Mark, Seq, Settled, Settlement, State, Verdict},
};

use super::{PostgresStore, micros};
use crate::{error::from_sqlx, row::get, sql::Shelf};

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 1_000;
/// How often a statement is repeated since messages were changed while it waited.
const REPEATS_MAX: usize = 8;

impl PostgresStore {
    pub(super) async fn settle_all(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let mut results = vec![None; settlements.len()];
        let mut left: Vec<usize> = (0..settlements.len()).collect();
        let mut repeats = 0;
        // A statement changes each row once and knows one epoch of each partition: what comes
        // second goes into a second statement.
        while !left.is_empty() {
            let mut seen = HashSet::new();
            let mut epochs = HashMap::new();
            let (mut round, later): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|&at| {
                settlements.get(at).is_some_and(|s| {
                    *epochs.entry(s.partition).or_insert(s.epoch) == s.epoch
                        && seen.insert(place(s))
                })
            });
            // Rows are locked in this order.
            round.sort_unstable_by_key(|&at| settlements.get(at).map(place));
            let batch: Vec<&Settlement> =
                round.iter().filter_map(|&at| settlements.get(at)).collect();
            let settled = self.settle_batch(&batch).await?;
            let unsteady = settled.contains(&None);
            left = Vec::new();
            for (&at, settled) in round.iter().zip(settled) {
                if let Some(result) = results.get_mut(at) {
                    *result = settled;
                }
                if settled.is_none() {
                    left.push(at);
                }
            }
            left.extend(later);
            repeats += usize::from(unsteady);
            if repeats > REPEATS_MAX {
                return Err(Error::unavailable(
                    "messages were changed again and again while they were settled",
                ));
            }
        }
        Ok(results
            .into_iter()
            .map(|settled| settled.unwrap_or(Settled::Superseded))
            .collect())
    }

    /// Settles a batch, in order of partition and seq; `None` stands for what must be settled again.
    async fn settle_batch(&self, batch: &[&Settlement]) -> Result<Vec<Option<Settled>>> {
        let mut results = self.advance(batch).await?;
        let open = batch.iter().zip(&results);
        let open = open.filter_map(|(one, result)| result.is_none().then_some(*one));
        let open: Vec<&Settlement> = open.collect();
        if open.is_empty() {
            return Ok(results);
        }
        let left = results.iter_mut().filter(|result| result.is_none());
        for (result, settled) in left.zip(self.settle_each(&open).await?) {
            *result = settled;
        }
        Ok(results)
    }

    /// Settles a batch by one statement that looks at each message; `None` as above.
    async fn settle_each(&self, batch: &[&Settlement]) -> Result<Vec<Option<Settled>>> {
        let columns = Columns::new(batch, &self.shelf);
        let statement = match (columns.all_done, self.shelf.is_log()) {
            (true, true) => &self.sql.cursor.done,
            (true, false) => &self.sql.settle.done,
            (false, _) => &self.sql.settle.any,
        };
        let hints: Vec<Option<String>> = columns
            .homes
            .iter()
            .map(|&partition| self.hints.get(partition))
            .collect();
        let query = statement
            .query()
            .bind(self.shelf.queue.clone())
            .bind(columns.fence)
            .bind(columns.epochs)
            .bind(columns.partitions)
            .bind(columns.seqs)
            .bind(columns.revisions)
            .bind(columns.attempts);
        let query = if columns.all_done && self.shelf.is_log() {
            query.bind(columns.flags).bind(hints.clone())
        } else if columns.all_done {
            query.bind(columns.flags)
        } else {
            query
                .bind(columns.what)
                .bind(columns.after)
                .bind(columns.reasons)
                .bind(columns.flags)
                .bind(columns.crashes)
        };
        let row = query
            .fetch_one(&self.pool)
            .await
            .map_err(|source| from_sqlx("settling", source))?;
        let held: HashSet<i16> = get::<Vec<i16>>(&row, 0)?.into_iter().collect();
        let applied: HashSet<i64> = get::<Vec<i64>>(&row, 1)?.into_iter().collect();
        let mut unsteady = Vec::new();
        if columns.all_done && self.shelf.is_log() {
            let adopted: Vec<i16> = get(&row, 2)?;
            unsteady = get::<Vec<i16>>(&row, 3)?;
            for (&partition, hint) in columns.homes.iter().zip(&hints) {
                if adopted.contains(&self.shelf.number(partition))
                    && let Some(hint) = hint
                {
                    self.hints.reached(partition, hint);
                }
            }
        }

        let mut results = Vec::with_capacity(batch.len());
        let mut open = Vec::new();
        for (at, (ord, settlement)) in (1_i64..).zip(batch).enumerate() {
            let partition = self.shelf.number(settlement.partition);
            results.push(if !held.contains(&partition) {
                Some(Settled::LeaseLost)
            } else if applied.contains(&ord) {
                Some(Settled::Applied)
            } else if unsteady.contains(&partition) {
                None
            } else {
                open.push(at);
                Some(Settled::Superseded)
            });
        }
        if !open.is_empty() {
            self.recognise(batch, &open, &mut results).await?;
        }
        Ok(results)
    }

    /// Finds out which of the settlements that did not apply are already recorded, by an earlier
    /// call of ours whose reply was lost.
    async fn recognise(
        &self,
        batch: &[&Settlement],
        open: &[usize],
        results: &mut [Option<Settled>],
    ) -> Result<()> {
        let asked: Vec<(usize, &Settlement)> = open
            .iter()
            .filter_map(|&at| Some((at, *batch.get(at)?)))
            .collect();
        let (partitions, seqs): (Vec<i16>, Vec<i64>) = asked
            .iter()
            .map(|(_, settlement)| (self.shelf.number(settlement.partition), settlement.seq.0))
            .unzip();
        let rows = self
            .sql
            .settle
            .look
            .query()
            .bind(partitions)
            .bind(seqs)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| from_sqlx("looking at settled messages", source))?;
        for row in &rows {
            let ord: i64 = get(row, 0)?;
            let found = usize::try_from(ord - 1).ok().and_then(|ord| asked.get(ord));
            if let Some((at, settlement)) = found
                && get::<i32>(row, 1)? == settlement.revision.next().0
                && is_result_of(
                    &settlement.change,
                    State::from_code(get(row, 2)?),
                    get(row, 3)?,
                )
                && let Some(result) = results.get_mut(*at)
            {
                *result = Some(Settled::Applied);
            }
        }
        Ok(())
    }
}

fn place(settlement: &Settlement) -> (Partition, Seq) {
    (settlement.partition, settlement.seq)
}

/// Whether a row in this state looks as if `change` had just been applied.
fn is_result_of(change: &Change, state: Option<State>, suspect: bool) -> bool {
    let open = matches!(
        state,
        Some(State::Pending | State::Retrying | State::Waiting)
    );
    match change {
        Change::Verdict(Verdict::Done { .. }) => state == Some(State::Done),
        Change::Verdict(Verdict::Retry { .. } | Verdict::Unknown { .. }) => {
            state == Some(State::Retrying)
        }
        Change::Verdict(Verdict::Dead { .. }) => state == Some(State::Dead),
        Change::Mark(Mark::Suspect { .. }) => open && suspect,
        Change::Mark(Mark::Clear { .. }) => open && !suspect,
    }
}

/// A batch as the arrays of the statements.
#[derive(Default)]
struct Columns {
    all_done: bool,
    homes: Vec<Partition>,
    fence: Vec<i16>,
    epochs: Vec<i64>,
    partitions: Vec<i16>,
    seqs: Vec<i64>,
    revisions: Vec<i32>,
    attempts: Vec<i32>,
    what: Vec<i16>,
    after: Vec<i64>,
    reasons: Vec<Option<String>>,
    flags: Vec<bool>,
    crashes: Vec<i32>,
}

impl Columns {
    fn new(batch: &[&Settlement], shelf: &Shelf) -> Self {
        let mut columns = Self {
            all_done: batch
                .iter()
                .all(|s| matches!(s.change, Change::Verdict(Verdict::Done { .. }))),
            ..Self::default()
        };
        let mut fences = HashSet::new();
        for settlement in batch {
            if fences.insert((settlement.partition, settlement.epoch)) {
                columns.homes.push(settlement.partition);
                columns.fence.push(shelf.number(settlement.partition));
                columns.epochs.push(settlement.epoch.0);
            }
            columns.push(settlement, shelf);
        }
        columns
    }

    fn push(&mut self, settlement: &Settlement, shelf: &Shelf) {
        self.partitions.push(shelf.number(settlement.partition));
        self.seqs.push(settlement.seq.0);
        self.revisions.push(settlement.revision.0);
        self.attempts.push(count(settlement.attempt));
        let (what, after, reason, flag, crashes) = match &settlement.change {
            Change::Verdict(Verdict::Done { duplicate }) => (0, 0, None, *duplicate, 0),
            Change::Verdict(Verdict::Retry { after, reason }) => {
                (1, micros(*after), Some(reason), false, 0)
            }
            Change::Verdict(Verdict::Unknown {
                after,
                reason,
                alone,
            }) => (2, micros(*after), Some(reason), *alone, 0),
            Change::Verdict(Verdict::Dead {
                reason,
                halts,
                uncertain,
            }) => {
                let what = if *uncertain { 6 } else { 3 };
                (what, 0, Some(reason), *halts, 0)
            }
            Change::Mark(Mark::Suspect { crashes }) => (4, 0, None, false, *crashes),
            Change::Mark(Mark::Clear { crashes }) => (5, 0, None, false, *crashes),
        };
        self.flags.push(flag);
        if !self.all_done {
            self.what.push(what);
            self.after.push(after);
            self.reasons.push(reason.map(|reason| cut(reason)));
            self.crashes.push(count(crashes));
        }
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Cuts a reason at the longest that is kept, between two characters, and takes out the one
/// character that Postgres cannot keep.
fn cut(reason: &str) -> String {
    reason
        .get(..reason.floor_char_boundary(REASON_MAX))
        .unwrap_or_default()
        .replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ü".repeat(600)).len(), 1_000);
        assert_eq!(cut(&format!("a{}", "ü".repeat(600))).len(), 999);
        assert_eq!(cut("a\0b"), "a\u{fffd}b");
    }
}
