//! The checks of a state: what the simulator asks of a history, asked at every step.

use iobox_core::store::{Acquired, Change, Settled, Settlement, Verdict};

use super::world::{MESSAGES, World};

/// How much time may pass until everything is done: two leases after the last fault, and the work.
const TICKS_MAX: u32 = 24;

/// An invariant that is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) detail: String,
}

fn broken<T>(invariant: &'static str, detail: String) -> Result<T, Violation> {
    Err(Violation { invariant, detail })
}

impl World {
    /// An owner sends a message.
    pub(super) fn started(&self, owner: usize, message: usize) -> Result<(), Violation> {
        let (id, key) = MESSAGES[message];
        let mut others = self.runs.iter();
        match others.find(|run| run.owner == owner && MESSAGES[run.message].1 == key) {
            Some(other) => {
                let other = MESSAGES[other.message].0;
                let detail =
                    format!("owner {owner} sent {id} while {other} of {key} was in flight");
                broken("G3 one of a key in flight", detail)
            }
            None => Ok(()),
        }
    }

    /// The broker takes a message.
    pub(super) fn taken(&mut self, message: usize) -> Result<(), Violation> {
        let (id, key) = MESSAGES[message];
        let before = (0..message).filter(|other| MESSAGES[*other].1 == key);
        for other in before {
            if !self.log.contains(&other) {
                let detail = format!("{id} came before {} of {key}", MESSAGES[other].0);
                return broken("G3 order per key", detail);
            }
        }
        self.log.push(message);
        let copies = self.log.iter().filter(|other| **other == message).count();
        let ambiguous = self.faults();
        if copies > 1 + ambiguous {
            let detail =
                format!("{id} was taken {copies} times after {ambiguous} ambiguous events");
            return broken("G7 bounded duplicates", detail);
        }
        Ok(())
    }

    /// The store grants partitions.
    pub(super) fn acquired(&mut self, acquired: &Acquired) -> Result<(), Violation> {
        let Acquired::Share { granted, .. } = acquired else {
            return Ok(());
        };
        for grant in granted {
            let last = self.epochs.insert(grant.partition, grant.epoch);
            if last.is_some_and(|last| last >= grant.epoch) {
                let detail = format!("{:?} got {:?} again", grant.partition, grant.epoch);
                return broken("G5 epochs grow", detail);
            }
        }
        Ok(())
    }

    /// The store has settled.
    pub(super) fn settled(
        &mut self,
        settlements: &[Settlement],
        settled: &[Settled],
    ) -> Result<(), Violation> {
        for (settlement, result) in settlements.iter().zip(settled) {
            if *result != Settled::Applied {
                continue;
            }
            let message = self.seqs[&settlement.seq];
            let id = MESSAGES[message].0;
            let last = self.epochs.get(&settlement.partition);
            if last != Some(&settlement.epoch) {
                let detail = format!("{id} was settled under {:?} of {last:?}", settlement.epoch);
                return broken("G5 fencing", detail);
            }
            match &settlement.change {
                Change::Verdict(Verdict::Done { .. }) if !self.log.contains(&message) => {
                    let detail = format!("{id} is done and nobody has it");
                    return broken("G2 done means published", detail);
                }
                Change::Verdict(Verdict::Done { .. }) => self.done[message] = true,
                Change::Verdict(Verdict::Dead { .. }) => {
                    return broken("G11 unknown never dies", format!("{id} is dead"));
                }
                _ if self.done[message] => {
                    let detail = format!("{id} was done, and something else was recorded");
                    return broken("G5 what is done stays done", detail);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Time has passed.
    pub(super) fn ticked(&self) -> Result<(), Violation> {
        if self.ticks > TICKS_MAX {
            let open = MESSAGES.iter().zip(self.done).filter(|(_, done)| !done);
            let open: Vec<&str> = open.map(|((id, _), _)| *id).collect();
            return broken("G14 everything ends", format!("{open:?} are not done"));
        }
        Ok(())
    }

    /// Everything is done.
    pub(super) fn over(&self) -> Result<(), Violation> {
        for (message, (id, _)) in MESSAGES.iter().enumerate() {
            if !self.log.contains(&message) {
                return broken(
                    "G2 nothing is lost",
                    format!("{id} is done and nobody has it"),
                );
            }
        }
        Ok(())
    }
}
