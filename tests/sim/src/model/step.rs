//! A step: one thing that may happen next.

use iobox_core::{
    Error, Store as _,
    dispatch::{Command, Outcome},
    publisher::Durability,
    queue::Queue,
    store::RenewRequest,
};

use super::{
    check::Violation,
    owner::{TICK, TTL},
    world::{Call, OWNERS, Reply, Taken, World, at_once},
};

/// What may happen; numbers are places among what is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The store does what a call asks for.
    Perform(usize),
    /// Its reply arrives. Those to a renewal, an acquisition, a release and a probe arrive as soon as the
    /// store has done it.
    Answer(usize),
    /// Its reply is lost, and the caller gives up.
    LoseReply(usize),
    /// The store does what a call asks for whose reply would arrive at once, and it is lost.
    PerformUnheard(usize),
    /// The broker takes a message.
    Take(usize),
    /// A message never reaches the broker, and the owner gives up.
    LoseSend(usize),
    /// Its confirmation arrives.
    Report(usize),
    /// Its confirmation is lost, and the owner gives up.
    LoseReport(usize),
    /// An owner dies.
    Crash(usize),
    /// The lease of an owner that holds something ends by the store's clock, and nobody is told.
    Expire(usize),
    /// Time passes.
    Tick,
}

impl World {
    /// Everything that may happen next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.steps_of_runs(&mut steps);
        if self.is_done() {
            // Only what is still on its way to the broker can go wrong.
            return steps;
        }
        for (at, call) in self.calls.iter().enumerate() {
            if call.reply.is_none() {
                steps.push(Step::Perform(at));
                if self.left.lost && call.is_answered_at_once() && self.is_alive(call.owner) {
                    steps.push(Step::PerformUnheard(at));
                }
                continue;
            }
            steps.push(Step::Answer(at));
            if self.left.lost {
                steps.push(Step::LoseReply(at));
            }
        }
        if self.left.crash {
            let alive = (0..OWNERS).filter(|owner| self.is_alive(*owner));
            steps.extend(alive.map(Step::Crash));
        }
        if self.left.expiry {
            let holds = |owner: &usize| {
                let owner = self.owners[*owner].as_ref();
                owner.is_some_and(|owner| owner.machine.partitions().next().is_some())
            };
            steps.extend((0..OWNERS).filter(holds).map(Step::Expire));
        }
        if self.is_quiet() {
            steps.push(Step::Tick);
        }
        steps
    }

    fn steps_of_runs(&self, steps: &mut Vec<Step>) {
        for (at, run) in self.runs.iter().enumerate() {
            let may_be_lost = self.left.lost && self.is_alive(run.owner);
            if run.taken.is_none() {
                steps.push(Step::Take(at));
                if may_be_lost {
                    steps.push(Step::LoseSend(at));
                }
                continue;
            }
            steps.push(Step::Report(at));
            if may_be_lost {
                steps.push(Step::LoseReport(at));
            }
        }
    }

    /// Makes a step.
    pub(super) fn make(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Perform(at) => {
                let call = self.calls[at].clone();
                let reply = self.perform(&call.command)?;
                if !self.is_alive(call.owner) {
                    self.calls.remove(at);
                    return Ok(());
                }
                self.calls[at].reply = Some(reply);
                if call.is_answered_at_once() {
                    return self.answer(at, true);
                }
                Ok(())
            }
            Step::PerformUnheard(at) => {
                self.left.lost = false;
                let command = self.calls[at].command.clone();
                self.calls[at].reply = Some(self.perform(&command)?);
                self.answer(at, false)
            }
            Step::Answer(at) => self.answer(at, true),
            Step::LoseReply(at) => {
                self.left.lost = false;
                self.answer(at, false)
            }
            Step::Take(at) => {
                let run = self.runs[at].clone();
                let duplicate = self.log.contains(&run.message);
                self.taken(run.message)?;
                if self.is_alive(run.owner) {
                    self.runs[at].taken = Some(Taken { duplicate });
                } else {
                    self.runs.remove(at);
                }
                Ok(())
            }
            Step::Report(at) => self.report(at, true),
            Step::LoseSend(at) | Step::LoseReport(at) => {
                self.left.lost = false;
                self.report(at, false)
            }
            Step::Crash(owner) => {
                self.left.crash = false;
                self.owners[owner] = None;
                // What it sent may still arrive, at any later time or never; nobody hears of the rest, and
                // of a fetch that nobody reads.
                let arrives = |call: &Call| {
                    call.reply.is_none() && !matches!(call.command, Command::Fetch(..))
                };
                self.calls
                    .retain(|call| call.owner != owner || arrives(call));
                self.runs
                    .retain(|run| run.owner != owner || run.taken.is_none());
                Ok(())
            }
            Step::Expire(owner) => {
                self.left.expiry = false;
                self.store.clock().advance(TTL * 2);
                self.keep_alive(1 - owner);
                Ok(())
            }
            Step::Tick => {
                self.ticks += 1;
                self.now += TICK;
                self.store.clock().advance(TICK);
                self.ticked()?;
                (0..OWNERS).try_for_each(|owner| self.poll(owner))
            }
        }
    }

    /// An owner has renewed all the while, and its own knowledge of it is no newer for that.
    fn keep_alive(&self, owner: usize) {
        if let Some(owner) = &self.owners[owner] {
            let request = RenewRequest {
                queue: Queue::Outbox,
                instance: owner.machine.instance(),
                ttl: TTL,
                register: false,
                in_flight: 0,
            };
            // Whoever is not registered yet has no lease to keep.
            let _ = at_once(self.store.renew(&request));
        }
    }

    fn perform(&mut self, command: &Command) -> Result<Reply, Violation> {
        let store = self.store.clone();
        let fine = "the store in memory does not fail";
        Ok(match command {
            Command::Renew(request) => Reply::Renewed(at_once(store.renew(request)).expect(fine)),
            Command::Acquire(request) => {
                let acquired = at_once(store.acquire(request)).expect(fine);
                self.acquired(&acquired)?;
                Reply::Acquired(acquired)
            }
            Command::Release(request) => {
                at_once(store.release(request)).expect(fine);
                Reply::Released
            }
            Command::Fetch(call, request) => {
                Reply::Fetched(*call, at_once(store.fetch(request)).expect(fine))
            }
            Command::Settle(call, settlements) => {
                let settled = at_once(store.settle(settlements)).expect(fine);
                self.settled(settlements, &settled)?;
                Reply::Settled(*call, settled)
            }
            Command::Probe => Reply::Probed(Durability::Synced),
            Command::Execute(_) => panic!("it is the broker's"),
        })
    }

    fn answer(&mut self, at: usize, arrives: bool) -> Result<(), Violation> {
        let call = self.calls.remove(at);
        let now = self.time();
        let reply = call.reply.expect("it was performed");
        let lost = || Error::unavailable("the reply is lost");
        fn or<T>(value: T, arrives: bool, lost: impl Fn() -> Error) -> iobox_core::Result<T> {
            if arrives { Ok(value) } else { Err(lost()) }
        }
        if let Some(owner) = &mut self.owners[call.owner] {
            let machine = &mut owner.machine;
            match reply {
                Reply::Renewed(reply) => machine.renewed(or(reply, arrives, lost), now),
                Reply::Acquired(reply) => machine.acquired(or(reply, arrives, lost), now),
                Reply::Released => machine.released(or((), arrives, lost), now),
                Reply::Fetched(id, reply) => machine.fetched(id, or(reply, arrives, lost), now),
                Reply::Settled(id, reply) => machine.settled(id, or(reply, arrives, lost), now),
                Reply::Probed(reply) => machine.probed(&or(reply, arrives, lost), now),
            }
        }
        self.poll(call.owner)
    }

    fn report(&mut self, at: usize, arrives: bool) -> Result<(), Violation> {
        let run = self.runs.remove(at);
        let outcome = match run.taken {
            Some(taken) if arrives => Outcome::Ok {
                duplicate: taken.duplicate,
            },
            _ => Outcome::Unknown {
                reason: "no confirmation".to_owned(),
            },
        };
        let now = self.time();
        if let Some(owner) = &mut self.owners[run.owner] {
            owner.machine.outcome(run.run, outcome, now);
        }
        self.poll(run.owner)
    }
}
