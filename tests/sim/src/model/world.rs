//! The world: two owners, a store, a broker, and what is on its way between them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use iobox_core::{
    dispatch::{Bug, CallId, Command, RunId, Time},
    memory::{MemoryClock, MemoryStore},
    message::Draft,
    partition::{Partition, Partitions},
    publisher::Durability,
    queue::Queue,
    store::{
        Acquired, Admin as _, Enqueue as _, Epoch, Fetched, Filter, Page, Renewed, Seq, Settled,
    },
};

use super::{check::Violation, owner::Owner};
use crate::ids::SeededIds;

/// How many owners there are.
pub(super) const OWNERS: usize = 2;
/// The messages and their keys, in the order of their commits. The keys differ in their lengths, since
/// that is all that is shown of a key, and are in two partitions.
pub(super) const MESSAGES: [(&str, &str); 3] = [("m0", "a"), ("m1", "a"), ("m2", "key")];

/// A call on its way, and its reply once the store has done it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) owner: usize,
    pub(super) command: Command,
    pub(super) reply: Option<Reply>,
}

impl Call {
    /// Whether nothing happens between the store and the arrival of its reply: what the caller does
    /// with it touches nobody else before its next call, which has a moment of its own.
    pub(super) const fn is_answered_at_once(&self) -> bool {
        !matches!(self.command, Command::Fetch(..) | Command::Settle(..))
    }
}

/// What the store answers.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Renewed(Renewed),
    Acquired(Acquired),
    Released,
    Fetched(CallId, Fetched),
    Settled(CallId, Vec<Settled>),
    Probed(Durability),
}

/// A message on its way to the broker, or taken and not reported yet.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) owner: usize,
    pub(super) run: RunId,
    pub(super) message: usize,
    pub(super) taken: Option<Taken>,
}

/// How the broker took a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) duplicate: bool,
}

/// The faults that may still happen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) crash: bool,
    pub(super) expiry: bool,
    pub(super) lost: bool,
}

impl Faults {
    pub(super) fn count(self) -> usize {
        [self.crash, self.expiry, self.lost]
            .into_iter()
            .filter(|left| *left)
            .count()
    }
}

/// A state of the world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: MemoryStore,
    /// `None` for one that crashed.
    pub(super) owners: [Option<Owner>; OWNERS],
    pub(super) now: Duration,
    pub(super) calls: Vec<Call>,
    pub(super) runs: Vec<Run>,
    /// What the broker took, copies too.
    pub(super) log: Vec<usize>,
    pub(super) left: Faults,
    /// How many faults there were to begin with.
    planned: usize,
    pub(super) ticks: u32,
    /// Which message has which place.
    pub(super) seqs: Arc<BTreeMap<Seq, usize>>,
    /// The messages that are recorded as done.
    pub(super) done: [bool; MESSAGES.len()],
    pub(super) epochs: BTreeMap<Partition, Epoch>,
}

/// The result of a call of the store in memory, which never waits.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

impl World {
    /// The first state: everything is committed, and both owners have just started.
    pub(super) fn new(bug: Option<Bug>, left: Faults) -> Result<Self, Violation> {
        let partitions = Partitions::new(2).expect("a power of two");
        let clock = MemoryClock::starting_at(Duration::from_secs(1_000));
        let store = MemoryStore::with(partitions, clock, Arc::new(SeededIds::new(0)));
        for (id, key) in MESSAGES {
            let mut tx = store.begin();
            let draft = Draft::new("topic", id).id(id).key(key);
            at_once(store.enqueue(&mut tx, &[draft])).expect("it is valid");
            tx.commit().expect("it is valid");
        }
        let page = Page::default();
        let entries = at_once(store.list(&Queue::Outbox, &Filter::default(), page));
        let entries = entries
            .expect("the store in memory does not fail")
            .into_iter();
        let seqs = entries
            .map(|entry| (entry.seq, index_of(&entry.id)))
            .collect();
        if let Some(bug) = bug {
            store.plant(bug);
        }
        let mut world = Self {
            store,
            owners: [0, 1].map(|of| Some(Owner::new(of, bug))),
            now: Duration::ZERO,
            calls: Vec::new(),
            runs: Vec::new(),
            log: Vec::new(),
            left,
            planned: left.count(),
            ticks: 0,
            seqs: Arc::new(seqs),
            done: [false; MESSAGES.len()],
            epochs: BTreeMap::new(),
        };
        for owner in 0..OWNERS {
            world.poll(owner)?;
        }
        Ok(world)
    }

    /// A copy that goes its own way.
    pub(super) fn fork(&self) -> Self {
        Self {
            store: self.store.fork(),
            owners: [0, 1].map(|of: usize| self.owners[of].as_ref().map(Owner::fork)),
            now: self.now,
            calls: self.calls.clone(),
            runs: self.runs.clone(),
            log: self.log.clone(),
            left: self.left,
            planned: self.planned,
            ticks: self.ticks,
            seqs: Arc::clone(&self.seqs),
            done: self.done,
            epochs: self.epochs.clone(),
        }
    }

    /// Everything that what happens next depends on, and what the checks depend on.
    pub(super) fn state(&self) -> String {
        let mut text = self.store.state();
        for owner in &self.owners {
            let state = owner.as_ref().map(Owner::state);
            write!(text, "\n{state:?}").expect("text");
        }
        let (now, ticks, left) = (self.now, self.ticks, self.left);
        let on_the_way = (&self.calls, &self.runs);
        let past = (&self.log, self.done, &self.epochs);
        write!(text, "\n{now:?} {ticks} {left:?}\n{on_the_way:?}\n{past:?}").expect("text");
        text
    }

    pub(super) const fn time(&self) -> Time {
        Time::at(self.now)
    }

    /// Takes the commands of an owner until it has none.
    pub(super) fn poll(&mut self, of: usize) -> Result<(), Violation> {
        let now = self.time();
        let mut commands = Vec::new();
        if let Some(owner) = &mut self.owners[of] {
            while let Some(command) = owner.machine.poll(now) {
                commands.push(command);
            }
            owner.machine.events().for_each(drop);
        }
        for command in commands {
            let Command::Execute(batch) = command else {
                let call = Call {
                    owner: of,
                    command,
                    reply: None,
                };
                // Calls of one owner stand together, so that states are the same in which others
                // were made in another order.
                let at = self.calls.partition_point(|other| other.owner <= of);
                self.calls.insert(at, call);
                continue;
            };
            for (run, message) in batch {
                let message = index_of(message.id().as_str());
                self.started(of, message)?;
                let at = self.runs.partition_point(|other| other.owner <= of);
                let run = Run {
                    owner: of,
                    run,
                    message,
                    taken: None,
                };
                self.runs.insert(at, run);
            }
        }
        Ok(())
    }

    /// How many faults happened.
    pub(super) fn faults(&self) -> usize {
        self.planned - self.left.count()
    }

    /// Whether this owner is alive.
    pub(super) const fn is_alive(&self, owner: usize) -> bool {
        self.owners[owner].is_some()
    }

    /// Whether nothing is on its way that a living owner waits for.
    pub(super) fn is_quiet(&self) -> bool {
        let calls = self.calls.iter().map(|call| call.owner);
        let runs = self.runs.iter().map(|run| run.owner);
        !calls.chain(runs).any(|owner| self.is_alive(owner))
    }

    /// Whether every message is done.
    pub(super) fn is_done(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// Whether every message is done and none is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.is_done() && self.runs.is_empty()
    }
}

fn index_of(id: &str) -> usize {
    let found = MESSAGES.iter().position(|(other, _)| *other == id);
    found.expect("no other message was written")
}
