//! A process of a world: it starts, ends, dies, stops for a while.

use std::time::Duration;

use iobox_core::{
    dispatch::{Machine, RunId, Time},
    partition::Partition,
    store::Acquired,
};

use crate::{
    plan::Act,
    rig::{Reply, ms},
    world::{Ending, Job, World},
};

/// A process: its machine, and how often it was started.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Option<Machine>,
    pub(crate) life: u32,
    pub(crate) frozen: Duration,
    pub(crate) draining: Option<Duration>,
}

impl World {
    pub(crate) fn end(
        &mut self,
        index: usize,
        life: u32,
        run: RunId,
        mut ending: Ending,
    ) -> Vec<usize> {
        if ending.taken {
            ending.taken = false;
            self.watch.taken(&ending.id, &self.store);
        }
        self.watch.landed(ending.flight);
        if self.nodes[index].life != life {
            return Vec::new();
        }
        let Some(outcome) = ending.outcome.clone() else {
            self.crash(index);
            return Vec::new();
        };
        if self.nodes[index].frozen > self.now {
            self.schedule(self.nodes[index].frozen, Job::End(index, life, run, ending));
            return Vec::new();
        }
        let time = self.time();
        if let Some(machine) = self.nodes[index].machine.as_mut() {
            machine.outcome(run, outcome, time);
        }
        vec![index]
    }

    fn crash(&mut self, index: usize) {
        if self.nodes[index].machine.take().is_some() {
            self.blame(|_| true);
            self.watch.ended(index);
            self.nodes[index].life += 1;
            self.nodes[index].draining = None;
            self.schedule(self.now + ms(100), Job::Start(index));
        }
    }

    /// Whoever ran alone is taken for the cause.
    fn blame(&mut self, place: impl Fn(Partition) -> bool) {
        let rows = self.store.rows.values();
        let alone = rows.filter(|row| row.suspect && row.crashes > 0 && place(row.partition));
        let ids = alone.map(|row| row.id().to_owned());
        self.watch.may_die.extend(ids);
    }

    /// A call takes effect. An acquisition takes partitions from their owner as a death does, even if the
    /// owner is the taker itself, and whether anybody hears of it or not.
    pub(crate) fn suspect(&mut self, reply: &Reply) {
        if let Reply::Acquired(Ok(Acquired::Share { granted, .. })) = reply {
            self.blame(|partition| granted.iter().any(|grant| grant.partition == partition));
        }
    }

    pub(crate) fn act(&mut self, act: Act) -> Vec<usize> {
        let count = self.nodes.len();
        match act {
            Act::Crash(index) => self.crash(index % count),
            Act::Freeze(index, time) => {
                let node = &mut self.nodes[index % count];
                node.frozen = node.frozen.max(self.now + ms(time));
            }
            Act::BrokerDown(time) => self.broker.down = self.now + ms(time),
            Act::StoreJump(by) => {
                self.shift += ms(by);
                self.watch.overlap = true;
            }
            Act::Drain(index) => {
                let node = &mut self.nodes[index % count];
                let frozen = node.frozen > self.now;
                if let Some(machine) = node.machine.as_mut().filter(|_| !frozen) {
                    machine.drain(Time::at(self.now));
                    node.draining.get_or_insert(self.now);
                    return vec![index % count];
                }
            }
        }
        Vec::new()
    }
}
