//! The checker: reads a history and says which guarantee it breaks, if any.

use std::time::Duration;

use iobox_core::{
    partition::Partition,
    store::{Epoch, InstanceId, State},
};

use crate::{
    history::{Entry, Event, Id, Kind, Process, Reply, Result as SettleResult},
    known::{Checker, Known, Violation, broken},
    plan::Plan,
};

/// Checks a whole history.
pub(crate) fn check(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    let mut checker = Checker::new(plan);
    for entry in entries {
        checker.see(entry.at, &entry.event)?;
    }
    checker.finish()
}

impl Checker<'_> {
    fn message(&mut self, id: &str) -> &mut Known {
        self.messages.entry(id.to_owned()).or_default()
    }

    fn partition_of(&self, id: &str) -> Partition {
        let key = self.messages.get(id).and_then(|known| known.key.as_deref());
        self.partitions.of(key.unwrap_or(id))
    }

    /// Everything that `process` sent and did not settle may be sent once more.
    fn all_ambiguous(&mut self, process: Process, crash: bool, only: Option<Partition>) {
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

    fn see(&mut self, at: Duration, event: &Event) -> Result<(), Violation> {
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
                instance, grants, ..
            } => {
                for grant in grants {
                    self.granted(at, *instance, grant.partition, grant.epoch)?;
                }
            }
            Event::Released {
                process,
                instance,
                partitions,
                leave,
            } => {
                self.released(*process, *instance, partitions, *leave)?;
            }
            Event::Settled { .. } => self.settled(event)?,
            Event::Sent { process, id, key } => self.sent(at, *process, id, key.as_deref())?,
            Event::Accepted { id, new } => self.accepted(id, *new)?,
            Event::Ended { process, id } => {
                self.open.remove(&(*process, id.clone()));
                self.message(id).ambiguous += 1;
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
            }
            Event::Discarded { id } => self.message(id).discarded = true,
            Event::Row { id, state, .. } => self.row(id, *state)?,
            Event::Started { .. } | Event::Resumed { .. } | Event::Fault { .. } | Event::Healed => {
            }
        }
        Ok(())
    }

    fn granted(
        &mut self,
        at: Duration,
        instance: InstanceId,
        partition: Partition,
        epoch: Epoch,
    ) -> Result<(), Violation> {
        if self
            .epochs
            .get(&partition)
            .is_some_and(|last| *last >= epoch)
        {
            return broken(
                "G5 epochs grow",
                format!("{partition:?} got {epoch:?} again"),
            );
        }
        self.epochs.insert(partition, epoch);
        let before = self.owners.insert(partition, instance);
        if let Some(owner) = before.filter(|owner| *owner != instance)
            && let Some(until) = self.alive_until.get(&owner)
        {
            let now = Duration::from_secs(1_000_000) + at;
            if *until > now {
                return broken(
                    "G6 no early reclaim",
                    format!(
                        "{partition:?} was taken {:?} before its owner expired",
                        *until - now
                    ),
                );
            }
        }
        Ok(())
    }

    fn released(
        &mut self,
        process: Process,
        instance: InstanceId,
        partitions: &[Partition],
        leave: bool,
    ) -> Result<(), Violation> {
        for partition in partitions {
            if self.owners.get(partition) == Some(&instance) {
                self.owners.remove(partition);
            }
            let in_flight = self
                .open
                .iter()
                .find(|(other, id)| *other == process && self.partition_of(id) == *partition);
            if let Some((_, id)) = in_flight
                && !self.paused.contains(&process)
            {
                let detail = format!("process {process} released {partition:?} while it sent {id}");
                return broken("G12 releases what is quiet", detail);
            }
            self.all_ambiguous(process, false, Some(*partition));
        }
        if leave {
            self.alive_until.remove(&instance);
            self.owners.retain(|_, owner| *owner != instance);
        }
        Ok(())
    }

    fn drained(&mut self, at: Duration, process: Process) -> Result<(), Violation> {
        let asked = self.draining.get(&process).copied().unwrap_or_default();
        let took = at - asked;
        let grace = self.plan.ttl;
        if took > grace + Duration::from_secs(1) && !self.paused.contains(&process) {
            return broken(
                "G12 drain ends in time",
                format!("process {process} took {took:?}"),
            );
        }
        let in_flight = self.open.iter().find(|(other, _)| *other == process);
        if let Some((_, id)) = in_flight
            && took < grace
        {
            return broken(
                "G12 drain waits for what is in flight",
                format!("process {process} left after {took:?} while it sent {id}"),
            );
        }
        self.all_ambiguous(process, false, None);
        Ok(())
    }

    fn settled(&mut self, event: &Event) -> Result<(), Violation> {
        let Event::Settled {
            process,
            partition,
            epoch,
            seq,
            kind,
            result,
            id,
        } = event
        else {
            return Ok(());
        };
        match result {
            SettleResult::Applied => {}
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
        if *kind != Kind::Mark {
            self.unsettled.remove(&(*process, id.clone()));
        }
        let known = self.message(id);
        match kind {
            Kind::Done if known.accepted == 0 => broken(
                "G2 done means published",
                format!("{id} is done and nobody has it"),
            ),
            Kind::Dead { halts } => {
                known.skipped = !halts;
                let failed = known.transient + known.permanent + known.crashes;
                if known.sent > 0 && failed == 0 {
                    return broken(
                        "G11 unknown never dies",
                        format!("{id} is dead and was never refused"),
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn sent(
        &mut self,
        at: Duration,
        process: Process,
        id: &str,
        key: Option<&str>,
    ) -> Result<(), Violation> {
        if let Some(asked) = self.draining.get(&process)
            && at > *asked + Duration::from_millis(100)
        {
            let detail = format!(
                "process {process} sent {id} {:?} after it was told",
                at - *asked
            );
            return broken("G12 nothing new in a drain", detail);
        }
        if let Some(key) = key {
            let other = self.open.iter().find(|(other, open)| {
                *other == process
                    && self
                        .messages
                        .get(open)
                        .and_then(|known| known.key.as_deref())
                        == Some(key)
            });
            if let Some((_, other)) = other {
                let detail =
                    format!("process {process} sent {id} while {other} of {key} was in flight");
                return broken("G3 one of a key in flight", detail);
            }
        }
        self.open.insert((process, id.to_owned()));
        self.unsettled.insert((process, id.to_owned()));
        self.message(id).sent += 1;
        Ok(())
    }

    fn accepted(&mut self, id: &str, new: bool) -> Result<(), Violation> {
        let known = self.message(id);
        known.accepted += 1;
        if known.rolled_back || !known.committed {
            return broken("G1 only what is committed", format!("{id} was published"));
        }
        if let Some(key) = known.key.clone().filter(|_| new) {
            self.appearances.entry(key).or_default().push(id.to_owned());
        }
        Ok(())
    }

    fn outcome(&mut self, id: &str, outcome: Reply) {
        let known = self.message(id);
        match outcome {
            Reply::Unknown => known.ambiguous += 1,
            Reply::Transient => known.transient += 1,
            Reply::Permanent => known.permanent += 1,
            Reply::Ok | Reply::Unavailable => {}
        }
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
