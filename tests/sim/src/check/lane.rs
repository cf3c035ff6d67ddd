//! The checker of one queue: reads what happened to it and says which guarantee that breaks.

use std::time::Duration;

use iobox_core::{partition::Partition, store::State};

use super::intake::Row;
use super::known::{Checker, Known, Rules, Violation, broken};
use crate::{
    gate::UNBEGUN,
    history::{Event, Id, Kind, Process, Result as SettleResult},
};

/// After how many crashes alone a message is dead: the default, which no plan changes.
const MAX_CRASHES: u32 = 3;

impl Checker {
    pub(super) fn message(&mut self, id: &str) -> &mut Known {
        self.messages.entry(id.to_owned()).or_default()
    }

    pub(super) fn partition_of(&self, id: &str) -> Partition {
        let key = self.messages.get(id).and_then(|known| known.key.as_deref());
        self.partitions.of(key.unwrap_or(id))
    }

    /// Everything that `process` sent and did not settle may be sent once more.
    pub(super) fn all_ambiguous(&mut self, process: Process, crash: bool, only: Option<Partition>) {
        let ids: Vec<Id> = self
            .unsettled
            .iter()
            .filter(|(other, id)| {
                *other == process && only.is_none_or(|p| self.partition_of(id) == p)
            })
            .map(|(_, id)| id.clone())
            .collect();
        for id in ids {
            self.unsettled.remove(&(process, id.clone()));
            let known = self.message(&id);
            known.ambiguous += 1;
            known.crashes += u32::from(crash);
        }
    }

    pub(crate) fn see(&mut self, at: Duration, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Committed { ids, key } => {
                for id in ids {
                    let known = self.message(id);
                    known.committed = true;
                    known.key.clone_from(key);
                    if let Some(key) = key {
                        self.commits
                            .entry(key.clone())
                            .or_default()
                            .push(id.clone());
                    }
                }
            }
            Event::RolledBack { ids } => {
                for id in ids {
                    self.message(id).rolled_back = true;
                }
            }
            Event::Crashed { process } => {
                self.all_ambiguous(*process, true, None);
                self.open.retain(|(other, _)| other != process);
            }
            Event::Paused { process } => {
                self.paused.insert(*process);
            }
            Event::DrainAsked { process } => {
                self.draining.insert(*process, at);
            }
            Event::Drained { process } => self.drained(at, *process)?,
            Event::Gone { process } => self.all_ambiguous(*process, false, None),
            Event::Renewed {
                instance, until, ..
            } => {
                self.alive_until.insert(*instance, *until);
            }
            Event::Granted {
                process,
                instance,
                grants,
                now,
            } => {
                for grant in grants {
                    self.granted(*now, *process, *instance, grant)?;
                }
            }
            Event::Released {
                process,
                instance,
                partitions,
                leave,
            } => {
                self.released(at, *process, *instance, partitions, *leave)?;
            }
            Event::Settled { .. } => self.settled(event)?,
            Event::Sent { process, id, key } => self.sent(at, *process, id, key.as_deref())?,
            Event::Accepted { id, new } => self.accepted(id, *new)?,
            Event::Ended { process, id } => {
                self.open.remove(&(*process, id.clone()));
                let handles = self.rules.handles;
                let known = self.message(id);
                known.ambiguous += 1;
                known.ended += u32::from(handles);
            }
            Event::Outcome {
                process,
                id,
                outcome,
            } => {
                self.open.remove(&(*process, id.clone()));
                self.outcome(id, *outcome);
            }
            Event::Replayed { id, .. } => {
                let known = self.message(id);
                known.replayed = true;
                known.ambiguous += 1;
                known.transient = 0;
                known.skipped = false;
                // A replay that comes late may find it done meanwhile: that is what it asked for.
                known.again += u32::from(known.done);
                known.done = false;
                known.halts = false;
                known.marked = 0;
            }
            Event::Discarded { id } => {
                let known = self.message(id);
                known.discarded = true;
                known.halts = false;
            }
            Event::Purged { ids } => self.purged(ids)?,
            Event::Row { id, state, .. } => self.row(id, *state)?,
            Event::Effect { id } => self.message(id).effects += 1,
            Event::Fault { what } => {
                self.disturbed = true;
                self.unbegun += u32::from(*what == UNBEGUN);
            }
            Event::Killed { .. } => self.disturbed = true,
            _ => {}
        }
        Ok(())
    }

    /// A message came to the queue of a handler.
    pub(super) fn comes(&mut self, row: &Row) {
        let known = self.message(&row.id);
        known.again += u32::from(row.again);
        if row.again {
            known.done = false;
            return;
        }
        known.committed = true;
        known.key.clone_from(&row.key);
        if let Some(key) = &row.key {
            let commits = self.commits.entry(key.clone()).or_default();
            commits.push(row.id.clone());
        }
    }

    fn settled(&mut self, event: &Event) -> Result<(), Violation> {
        let Event::Settled {
            process,
            partition,
            epoch,
            seq,
            revision,
            kind,
            result,
            id,
        } = event
        else {
            return Ok(());
        };
        match result {
            SettleResult::Applied => {}
            SettleResult::LeaseLost if !self.disturbed => {
                let detail = format!("process {process} lost {partition:?}, and nothing was amiss");
                return broken("G6 no lease is lost without a fault", detail);
            }
            SettleResult::LeaseLost => {
                self.all_ambiguous(*process, false, Some(*partition));
                return Ok(());
            }
            SettleResult::Superseded => {
                if let Some(id) = id {
                    self.message(id).ambiguous += 1;
                }
                return Ok(());
            }
        }
        if self
            .epochs
            .get(partition)
            .is_some_and(|current| current > epoch)
        {
            return broken(
                "G5 fencing",
                format!(
                    "process {process} settled {seq:?} of {partition:?} under the old {epoch:?}"
                ),
            );
        }
        let Some(id) = id else { return Ok(()) };
        if !matches!(kind, Kind::Mark { .. } | Kind::Clear) {
            // A call that takes effect once more, late, says nothing of what was sent since, nor
            // does it judge the message anew.
            let before = self.message(id).settled.replace((*seq, *revision, *kind));
            if before == Some((*seq, *revision, *kind)) {
                return Ok(());
            }
            if before.map(|(seq, revision, _)| (seq, revision)) != Some((*seq, *revision)) {
                self.unsettled.remove(&(*process, id.clone()));
            }
        }
        let taken = self.takeovers.contains(partition);
        let unbegun = self.unbegun;
        let Rules {
            max_attempts,
            handles,
            ..
        } = self.rules;
        let known = self.message(id);
        let by_crashes = known.marked >= MAX_CRASHES;
        if let Kind::Mark { crashes } = kind {
            known.marked = *crashes;
            known.marked_by = Some(*process);
        } else {
            known.marked = 0;
        }
        if known.done && *kind != Kind::Done {
            return broken(
                "G5 what is done stays done",
                format!("{id} was done, and {kind:?} was recorded"),
            );
        }
        match kind {
            Kind::Done if known.accepted == 0 => broken(
                "G2 done means published",
                format!("{id} is done and nobody has it"),
            ),
            Kind::Done => {
                known.done = true;
                Ok(())
            }
            Kind::Dead { halts } => {
                known.skipped = !halts;
                known.halts = *halts;
                let failed = known.transient + known.permanent + known.crashes + known.ended;
                let failed = failed + if handles { unbegun } else { 0 };
                if known.sent > 0 && failed == 0 && !by_crashes {
                    return broken(
                        "G11 unknown never dies",
                        format!("{id} is dead and was never refused"),
                    );
                }
                let attempts = failed + if handles { 0 } else { known.ambiguous };
                let excused = known.sent == 0 || known.permanent > 0 || taken || by_crashes;
                if !excused && attempts < max_attempts {
                    return broken(
                        "G11 only attempts count",
                        format!("{id} is dead after {attempts} of {max_attempts} attempts"),
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What is purged had come to its end.
    fn purged(&mut self, ids: &[Id]) -> Result<(), Violation> {
        for id in ids {
            self.rows.insert(id.clone());
            let known = self.message(id);
            if !known.done && !known.discarded {
                return broken(
                    "G2 nothing is lost",
                    format!("{id} was purged and is not settled"),
                );
            }
        }
        Ok(())
    }

    fn row(&mut self, id: &str, state: State) -> Result<(), Violation> {
        self.rows.insert(id.to_owned());
        let known = self.message(id);
        if !known.committed {
            return broken("G1 only what is committed", format!("{id} is stored"));
        }
        match state {
            State::Done if known.accepted == 0 => broken(
                "G2 nothing is lost",
                format!("{id} is done and nobody has it"),
            ),
            State::Done | State::Discarded => Ok(()),
            _ => broken("G14 everything ends", format!("{id} is {state} at the end")),
        }
    }
}
