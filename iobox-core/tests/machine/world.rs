//! The world: several machines on one model store and one broker, on a schedule of faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iobox_core::{
    dispatch::{Command, Machine, Outcome, RunId, Settings, Time},
    message::Message,
    store::{Hint, Seq},
};

use crate::{
    broker::Broker,
    plan::{Act, CallFault, Letter, Nature, Plan},
    process::Node,
    rig::{Ids, Kind, Reply, effect, feed, lost, ms},
    store::Store,
    watch::{Flight, Watch},
};

/// Something that happens at a time.
#[derive(Debug)]
pub(crate) enum Job {
    Enqueue(usize),
    Commit(usize, Seq),
    Act(Act),
    Start(usize),
    Effect(usize, u32, Command, Option<Duration>),
    /// A call takes effect that its caller gave up long ago.
    Late(Command),
    Answer(usize, u32, Reply),
    /// The broker takes a message, and an execution ends.
    End(usize, u32, RunId, Ending),
}

#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) flight: u64,
    pub(crate) id: String,
    pub(crate) taken: bool,
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    settings: Settings,
    pub(crate) now: Duration,
    /// How far the clock of the store is ahead.
    pub(crate) shift: Duration,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    agenda: BTreeMap<(Duration, u64), Job>,
    number: u64,
    calls: std::vec::IntoIter<CallFault>,
    pub(crate) broker: Broker,
    ids: Arc<Ids>,
    pub(crate) watch: Watch,
}

pub(crate) fn name(index: usize) -> String {
    format!("m{index}")
}

impl World {
    pub(crate) fn new(plan: Plan, settings: Settings) -> Self {
        let mut world = Self {
            store: Store::new(plan.partitions),
            now: ms(0),
            shift: ms(0),
            nodes: Vec::new(),
            agenda: BTreeMap::new(),
            number: 0,
            calls: plan.calls.clone().into_iter(),
            broker: Broker::new(plan.runs.clone()),
            ids: Arc::new(Ids::default()),
            watch: Watch::new(settings.clone()),
            settings,
            plan,
        };
        // Writers of one key take turns, as the contract asks; others commit in any order.
        let mut last = BTreeMap::<u8, u64>::new();
        for index in 0..world.plan.letters.len() {
            let Letter { key, at, .. } = world.plan.letters[index].clone();
            let at = if key == 0 {
                at
            } else {
                at.max(last.get(&key).copied().unwrap_or(0))
            };
            last.insert(key, at);
            world.plan.letters[index].at = at;
            world.schedule(ms(at), Job::Enqueue(index));
        }
        for (at, act) in world.plan.acts.clone() {
            world.schedule(ms(at), Job::Act(act));
        }
        for node in 0..world.plan.nodes {
            world.nodes.push(Node {
                machine: None,
                life: 0,
                frozen: ms(0),
                draining: None,
            });
            world.schedule(ms(0), Job::Start(node));
        }
        world
    }

    pub(crate) fn schedule(&mut self, at: Duration, job: Job) {
        self.number += 1;
        self.agenda.insert((at, self.number), job);
    }

    pub(crate) const fn time(&self) -> Time {
        Time::at(self.now)
    }

    fn store_time(&self) -> Duration {
        self.now + self.shift
    }

    /// Runs until every message has come to its end, or for `limit`. Returns whether it did.
    pub(crate) fn run(&mut self, limit: Duration) -> bool {
        let mut wakes: BTreeMap<usize, Duration> = BTreeMap::new();
        while self.now < limit {
            let next = self.agenda.keys().next().map(|(at, _)| *at);
            let wake = wakes.values().min().copied();
            let Some(at) = [next, wake].into_iter().flatten().min() else {
                return self.is_over();
            };
            self.now = self.now.max(at);
            let mut touched: BTreeSet<usize> = wakes
                .iter()
                .filter(|(_, at)| **at <= self.now)
                .map(|(node, _)| *node)
                .collect();
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let job = entry.remove();
                for node in self.perform(job) {
                    touched.insert(node);
                }
            }
            for node in touched {
                wakes.remove(&node);
                if let Some(at) = self.poll(node) {
                    assert!(at > self.now, "node {node} spins at {:?}", self.now);
                    wakes.insert(node, at.max(self.now + ms(1)));
                }
            }
            if self
                .agenda
                .values()
                .all(|job| matches!(job, Job::Answer(..)))
                && self.is_over()
            {
                return true;
            }
        }
        self.is_over()
    }

    /// Polls a node until it has nothing more to do; when to poll it again.
    fn poll(&mut self, index: usize) -> Option<Duration> {
        let node = &self.nodes[index];
        if node.frozen > self.now {
            return Some(node.frozen);
        }
        let mut commands = 0;
        let time = self.time();
        loop {
            let machine = self.nodes[index].machine.as_mut()?;
            let Some(command) = machine.poll(time) else {
                break;
            };
            commands += 1;
            assert!(commands < 500, "poll never ends at {:?}", self.now);
            self.issue(index, command);
        }
        let node = &mut self.nodes[index];
        let machine = node.machine.as_mut()?;
        machine.events().for_each(drop);
        self.watch.rested(index, machine);
        if let Some(since) = node.draining {
            let latest = since + self.settings.grace + ms(502);
            assert!(
                self.now < latest.max(node.frozen + ms(2)),
                "the drain takes too long"
            );
            if machine.is_drained(time) {
                node.machine = None;
                node.draining = None;
                node.life += 1;
                self.watch.ended(index);
                self.schedule(self.now + ms(150), Job::Start(index));
                return None;
            }
        }
        let deadline = machine
            .deadline(time)
            .map_or(self.now + ms(10_000), Time::since_start);
        Some(deadline)
    }

    fn issue(&mut self, index: usize, command: Command) {
        let life = self.nodes[index].life;
        let draining = self.nodes[index].draining.is_some();
        let machine = self.nodes[index].machine.as_ref().unwrap();
        self.watch
            .issued(index, machine, &command, self.now, draining);
        let timeout = match Kind::of(&command) {
            Kind::Execute => {
                let Command::Execute(batch) = command else {
                    unreachable!()
                };
                for (run, message) in batch {
                    self.execute(index, run, &message);
                }
                return;
            }
            Kind::Probe => {
                let reply = if self.broker.down > self.now {
                    lost(&command)
                } else {
                    effect(&mut self.store, &command, self.now)
                };
                self.schedule(self.now + ms(3), Job::Answer(index, life, reply));
                return;
            }
            Kind::Fetch => self.settings.settle_timeout * 10,
            Kind::Settle => self.settings.settle_timeout,
            Kind::Renew | Kind::Acquire | Kind::Release => self.settings.ttl / 3,
        };
        let given_up = self.now + timeout;
        match self.calls.next().unwrap_or(CallFault::Slow(1, 1)) {
            CallFault::Slow(out, back) if ms(out + back) < timeout => {
                let at = self.now + ms(out);
                self.schedule(at, Job::Effect(index, life, command, Some(at + ms(back))));
            }
            CallFault::LostBefore => {
                self.schedule(given_up, Job::Answer(index, life, lost(&command)));
            }
            CallFault::Slow(out, _) | CallFault::LostAfter(out) => {
                self.schedule(given_up, Job::Answer(index, life, lost(&command)));
                self.schedule(self.now + ms(out), Job::Effect(index, life, command, None));
            }
            CallFault::Late(by) => {
                self.schedule(given_up, Job::Answer(index, life, lost(&command)));
                self.schedule(given_up + ms(by), Job::Late(command));
            }
        }
    }

    fn execute(&mut self, index: usize, run: RunId, message: &Message) {
        let id = message.id().to_string();
        let row = self.store.row(&id);
        let life = self.nodes[index].life;
        let machine = self.nodes[index].machine.as_ref().unwrap();
        let flight = Flight {
            node: index,
            id: id.clone(),
            key: row.key().cloned(),
            partition: row.partition,
        };
        let flight = self.watch.started(flight, machine, &self.store, self.now);
        let nature = self.nature(&id);
        let timeout = self.settings.execute_timeout;
        let end = self.broker.execute(nature, self.now, timeout);
        if matches!(end.outcome, Some(Outcome::Permanent { .. })) {
            self.watch.may_die.insert(id.clone());
        }
        let ending = Ending {
            flight,
            id,
            taken: end.taken,
            outcome: end.outcome,
        };
        let at = self.now + end.after;
        self.schedule(at, Job::End(index, life, run, ending));
    }

    pub(crate) fn nature(&self, id: &str) -> Nature {
        self.plan.letters[id[1..].parse::<usize>().unwrap()].nature
    }

    /// Performs a job. Returns the nodes that have a new input.
    fn perform(&mut self, job: Job) -> Vec<usize> {
        match job {
            Job::Enqueue(index) => {
                let seq = self.store.draw();
                let at = self.now + ms(self.plan.letters[index].late);
                self.schedule(at, Job::Commit(index, seq));
                Vec::new()
            }
            Job::Commit(index, seq) => {
                let letter = self.plan.letters[index].clone();
                let keyed = letter.key > 0;
                let key = if keyed {
                    format!("k{}", letter.key)
                } else {
                    String::new()
                };
                let spread = if keyed {
                    usize::from(letter.key)
                } else {
                    index
                };
                let partition = u8::try_from(spread % usize::from(self.plan.partitions)).unwrap();
                let now = self.store_time();
                self.store.put(partition, seq, &name(index), &key, now);
                self.store.row_mut(&name(index)).corrupt = letter.nature == Nature::Damaged;
                let time = self.time();
                let wake = index % 2 == 0;
                let machines = self
                    .nodes
                    .iter_mut()
                    .filter_map(|node| node.machine.as_mut());
                machines
                    .filter(|_| wake)
                    .for_each(|machine| machine.wake(Hint::Wake, time));
                (0..self.nodes.len()).collect()
            }
            Job::Act(act) => self.act(act),
            Job::Start(index) => {
                let random = fastrand::Rng::with_seed(self.plan.seed ^ self.number);
                let ids: Arc<Ids> = Arc::clone(&self.ids);
                let machine = Machine::new(self.settings.clone(), ids, random, self.time());
                self.nodes[index].machine = Some(machine);
                vec![index]
            }
            Job::Effect(index, life, command, answer) => {
                let now = self.store_time();
                let reply = effect(&mut self.store, &command, now);
                self.suspect(&reply);
                if let Some(at) = answer {
                    self.schedule(at, Job::Answer(index, life, reply));
                }
                Vec::new()
            }
            Job::Late(command) => {
                self.store.late = true;
                let now = self.store_time();
                effect(&mut self.store, &command, now);
                self.store.late = false;
                Vec::new()
            }
            Job::Answer(index, life, reply) => {
                if self.nodes[index].frozen > self.now {
                    self.schedule(self.nodes[index].frozen, Job::Answer(index, life, reply));
                } else if self.nodes[index].life == life {
                    self.watch.answered(index, &reply);
                    let time = self.time();
                    if let Some(machine) = self.nodes[index].machine.as_mut() {
                        feed(machine, reply, time);
                    }
                }
                vec![index]
            }
            Job::End(index, life, run, ending) => self.end(index, life, run, ending),
        }
    }
}
