//! What the checker knows at a moment of the history, and what must hold at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iobox_core::{
    dispatch::DeadLetterPolicy,
    partition::{Partition, Partitions},
    store::{Epoch, InstanceId, Revision, Seq},
};

use crate::{
    history::{Id, Kind, Process},
    plan::{HandlerPlan, Plan},
};

/// What holds for the queue of a history.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) partitions: u16,
    pub(crate) policy: DeadLetterPolicy,
    pub(crate) max_attempts: u32,
    /// How long a drain may take to end what is in flight.
    pub(crate) grace: Duration,
    /// Whether it is the queue of a handler: what is given up counts as failed then.
    pub(crate) handles: bool,
    /// Whether effects and mark are in one transaction.
    pub(crate) transactional: bool,
    /// How long it may take from the start of a run until it is noted.
    pub(crate) slack: Duration,
}

impl Rules {
    /// Those of the outbox.
    pub(crate) const fn of_outbox(plan: &Plan) -> Self {
        Self {
            partitions: plan.partitions,
            policy: plan.policy,
            max_attempts: plan.max_attempts,
            grace: plan.ttl,
            handles: false,
            transactional: false,
            slack: Duration::ZERO,
        }
    }

    /// Those of a handler.
    pub(crate) fn of_handler(plan: &Plan, handler: &HandlerPlan) -> Self {
        Self {
            policy: handler.policy,
            max_attempts: handler.max_attempts,
            handles: true,
            transactional: handler.transactional,
            // It is noted when its transaction was opened.
            slack: if handler.transactional {
                plan.ttl.mul_f64(handler.timeout)
            } else {
                Duration::ZERO
            },
            ..Self::of_outbox(plan)
        }
    }

    /// Those of the right to read.
    pub(crate) const fn of_source(plan: &Plan) -> Self {
        Self {
            partitions: 1,
            ..Self::of_outbox(plan)
        }
    }
}

/// A broken guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which, by its number in the list of guarantees.
    pub(crate) invariant: &'static str,
    /// What happened.
    pub(crate) detail: String,
}

/// A history as far as it was read.
pub(crate) struct Checker {
    pub(crate) rules: Rules,
    pub(crate) partitions: Partitions,
    pub(crate) messages: BTreeMap<Id, Known>,
    /// Per key: the ids in the order of their commits.
    pub(crate) commits: BTreeMap<String, Vec<Id>>,
    /// Per key: the ids in the order of their first appearance in the broker.
    pub(crate) appearances: BTreeMap<String, Vec<Id>>,
    pub(crate) epochs: BTreeMap<Partition, Epoch>,
    pub(crate) owners: BTreeMap<Partition, InstanceId>,
    /// The process that each partition was granted to last.
    pub(crate) holders: BTreeMap<Partition, Process>,
    /// Runs of handlers that were given up before their transaction was open.
    pub(crate) unbegun: u32,
    pub(crate) alive_until: BTreeMap<InstanceId, Duration>,
    /// Being sent: no outcome yet.
    pub(crate) open: BTreeSet<(Process, Id)>,
    /// Sent and not settled.
    pub(crate) unsettled: BTreeSet<(Process, Id)>,
    pub(crate) draining: BTreeMap<Process, Duration>,
    pub(crate) paused: BTreeSet<Process>,
    pub(crate) rows: BTreeSet<Id>,
    /// Partitions that were taken from an owner that did not give them back.
    pub(crate) takeovers: BTreeSet<Partition>,
    /// Whether anything went wrong so far.
    pub(crate) disturbed: bool,
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
    /// Runs of a handler that were given up.
    pub(crate) ended: u32,
    pub(crate) skipped: bool,
    pub(crate) replayed: bool,
    pub(crate) discarded: bool,
    /// Where the last verdict was applied, the revision that it named, and what it was.
    pub(crate) settled: Option<(Seq, Revision, Kind)>,
    /// Settled as done, and not put back since.
    pub(crate) done: bool,
    /// Dead, in a way that halts its key.
    pub(crate) halts: bool,
    /// The crashes that its last mark recorded.
    pub(crate) marked: u32,
    /// Who recorded it.
    pub(crate) marked_by: Option<Process>,
    /// How often it was stored again after its marks were forgotten, or replayed when it was done.
    pub(crate) again: u32,
    /// Effects that were found at the end.
    pub(crate) effects: u32,
}

pub(crate) fn broken(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}

impl Checker {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            partitions: Partitions::new(rules.partitions).expect("the plan draws powers of two"),
            rules,
            messages: BTreeMap::new(),
            commits: BTreeMap::new(),
            appearances: BTreeMap::new(),
            epochs: BTreeMap::new(),
            owners: BTreeMap::new(),
            holders: BTreeMap::new(),
            unbegun: 0,
            alive_until: BTreeMap::new(),
            open: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            draining: BTreeMap::new(),
            paused: BTreeSet::new(),
            rows: BTreeSet::new(),
            takeovers: BTreeSet::new(),
            disturbed: false,
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
            let max = self.rules.max_attempts;
            if known.transient > max + known.ambiguous {
                let detail = format!("{id} failed {} times, {max} are allowed", known.transient);
                return broken("G11 attempts are bounded", detail);
            }
            if self.rules.transactional {
                known.check_effects(id)?;
            }
            if known.accepted > 1 + known.ambiguous + known.again {
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
        let skips = self.rules.policy == DeadLetterPolicy::Skip;
        self.messages
            .get(id)
            .is_some_and(|known| !(known.discarded || known.again > 0 || known.replayed && skips))
    }
}

impl Known {
    /// Effects and mark of a transactional handler are there both or neither, and once.
    fn check_effects(&self, id: &str) -> Result<(), Violation> {
        if self.accepted > 1 + self.again {
            let detail = format!("{id} was handled {} times", self.accepted);
            return broken("G9 effects happen once", detail);
        }
        if self.effects != self.accepted {
            let detail = format!(
                "{id} was handled {} times and has {} effects",
                self.accepted, self.effects
            );
            return broken("G9 effects and mark together", detail);
        }
        Ok(())
    }
}
