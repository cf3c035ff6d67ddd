//! What holds for leases and drains.

use std::{collections::BTreeSet, time::Duration};

use iobox_core::{
    partition::Partition,
    store::{Epoch, InstanceId},
};

use super::known::{Checker, Violation, broken};
use crate::history::{GrantOf, Process};

impl Checker {
    /// The epoch under which the first partition was granted last.
    pub(crate) fn first_epoch(&self) -> Option<Epoch> {
        self.epochs.get(&Partition::new(0)).copied()
    }

    pub(super) fn granted(
        &mut self,
        now: Duration,
        process: Process,
        instance: InstanceId,
        grant: &GrantOf,
    ) -> Result<(), Violation> {
        let (partition, epoch) = (grant.partition, grant.epoch);
        let last = self.epochs.insert(partition, epoch);
        if last.is_some_and(|last| last >= epoch) {
            return broken(
                "G5 epochs grow",
                format!("{partition:?} got {epoch:?} again"),
            );
        }
        if grant.abandoned {
            self.takeovers.insert(partition);
        }
        // Whatever was sent under an earlier epoch is settled by nobody any more.
        let processes: BTreeSet<Process> = self.unsettled.iter().map(|(one, _)| *one).collect();
        for other in processes {
            self.all_ambiguous(other, false, Some(partition));
        }
        self.holders.insert(partition, process);
        // Nor is what was marked a suspect of the new holder until he marks it.
        let partitions = self.partitions;
        for (id, known) in &mut self.messages {
            if partitions.of(known.key.as_deref().unwrap_or(id)) == partition {
                known.marked_by = None;
            }
        }
        let before = self.owners.insert(partition, instance);
        if let Some(owner) = before.filter(|owner| *owner != instance)
            && let Some(until) = self.alive_until.get(&owner)
            && *until > now
        {
            return broken(
                "G6 no early reclaim",
                format!(
                    "{partition:?} was taken {:?} before its owner expired",
                    *until - now
                ),
            );
        }
        Ok(())
    }

    pub(super) fn released(
        &mut self,
        at: Duration,
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
            let asked = self.draining.get(&process);
            let over = asked.is_some_and(|asked| at >= *asked + self.rules.grace);
            if let Some((_, id)) = in_flight
                && !over
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

    pub(super) fn drained(&mut self, at: Duration, process: Process) -> Result<(), Violation> {
        let asked = self.draining.get(&process).copied().unwrap_or_default();
        let took = at - asked;
        let grace = self.rules.grace;
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
}
