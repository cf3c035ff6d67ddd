//! What the checker knows at a moment of the history, and what must hold at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iobox_core::{
    dispatch::DeadLetterPolicy,
    partition::{Partition, Partitions},
    store::{Epoch, InstanceId},
};

use crate::{
    history::{Id, Process},
    plan::Plan,
};

/// A broken guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which, by its number in the list of guarantees.
    pub(crate) invariant: &'static str,
    /// What happened.
    pub(crate) detail: String,
}

/// A history as far as it was read.
pub(crate) struct Checker<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) partitions: Partitions,
    pub(crate) messages: BTreeMap<Id, Known>,
    /// Per key: the ids in the order of their commits.
    pub(crate) commits: BTreeMap<String, Vec<Id>>,
    /// Per key: the ids in the order of their first appearance in the broker.
    pub(crate) appearances: BTreeMap<String, Vec<Id>>,
    pub(crate) epochs: BTreeMap<Partition, Epoch>,
    pub(crate) owners: BTreeMap<Partition, InstanceId>,
    pub(crate) alive_until: BTreeMap<InstanceId, Duration>,
    /// Being sent: no outcome yet.
    pub(crate) open: BTreeSet<(Process, Id)>,
    /// Sent and not settled.
    pub(crate) unsettled: BTreeSet<(Process, Id)>,
    pub(crate) draining: BTreeMap<Process, Duration>,
    pub(crate) paused: BTreeSet<Process>,
    pub(crate) rows: BTreeSet<Id>,
}

/// What is known of one message.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) committed: bool,
    pub(crate) rolled_back: bool,
    pub(crate) key: Option<String>,
    pub(crate) sent: u32,
    pub(crate) accepted: u32,
    pub(crate) transient: u32,
    pub(crate) permanent: u32,
    /// Events after which one more copy is allowed.
    pub(crate) ambiguous: u32,
    /// Crashes while it was being sent.
    pub(crate) crashes: u32,
    pub(crate) skipped: bool,
    pub(crate) replayed: bool,
    pub(crate) discarded: bool,
}

pub(crate) fn broken(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}

impl<'a> Checker<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            partitions: Partitions::new(plan.partitions).expect("the plan draws powers of two"),
            messages: BTreeMap::new(),
            commits: BTreeMap::new(),
            appearances: BTreeMap::new(),
            epochs: BTreeMap::new(),
            owners: BTreeMap::new(),
            alive_until: BTreeMap::new(),
            open: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            draining: BTreeMap::new(),
            paused: BTreeSet::new(),
            rows: BTreeSet::new(),
        }
    }

    /// Says which guarantee the whole history breaks, if any.
    pub(crate) fn finish(&self) -> Result<(), Violation> {
        for (id, known) in &self.messages {
            if known.committed && !self.rows.contains(id) {
                return broken(
                    "G2 nothing is lost",
                    format!("{id} was committed and is not stored"),
                );
            }
            if known.skipped && known.accepted > 0 {
                return broken(
                    "G11 dead is not delivered",
                    format!("{id} is dead, skipped and published"),
                );
            }
            let max = self.plan.max_attempts;
            if known.transient > max + known.ambiguous {
                let detail = format!("{id} failed {} times, {max} are allowed", known.transient);
                return broken("G11 attempts are bounded", detail);
            }
            if known.accepted > 1 + known.ambiguous {
                let detail = format!(
                    "{id} was taken {} times after {} ambiguous events",
                    known.accepted, known.ambiguous
                );
                return broken("G7 bounded duplicates", detail);
            }
        }
        for (key, appearances) in &self.appearances {
            let order: Vec<&Id> = appearances
                .iter()
                .filter(|id| self.keeps_order(id))
                .collect();
            let commits = self.commits.get(key).map(Vec::as_slice).unwrap_or_default();
            let place = |id: &Id| commits.iter().position(|other| other == id);
            if let Some(pair) = order
                .windows(2)
                .find(|pair| place(pair[0]) > place(pair[1]))
            {
                let detail = format!("{} came before {} of {key}", pair[0], pair[1]);
                return broken("G3 order per key", detail);
            }
        }
        Ok(())
    }

    /// Whether the place of a message counts: not when it was put back behind later ones, or closed
    /// while a copy of it was on the way.
    fn keeps_order(&self, id: &str) -> bool {
        let skips = self.plan.policy == DeadLetterPolicy::Skip;
        self.messages
            .get(id)
            .is_some_and(|known| !(known.discarded || known.replayed && skips))
    }
}
