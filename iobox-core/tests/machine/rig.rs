//! A rig: one machine, the model store and a broker that the case scripts, moved by hand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iobox_core::{
    Error, Result,
    dispatch::{CallId, Command, Event, Machine, Outcome, RunId, Settings, Time},
    message::{IdSource, Message, OrderingKey},
    partition::Partition,
    publisher::Durability,
    queue::Queue,
    store::{Acquired, Aside, FetchRequest, Fetched, Renewed, Seq, Settled, Settlement, State},
};
use uuid::Uuid;

use crate::store::Store;

/// Ids in a row, the same in every run.
#[derive(Debug, Default)]
pub(crate) struct Ids(AtomicU64);

impl IdSource for Ids {
    fn draw(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Small settings: three in flight, batches of four, one settle at a time, a lease of five seconds.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new(Queue::Outbox);
    settings.batch = 4;
    settings.fetch = 4;
    settings.max_in_flight = 3;
    settings.settles = 1;
    settings.ttl = ms(5_000);
    settings.execute_timeout = ms(1_000);
    settings.settle_timeout = ms(500);
    settings.grace = ms(2_000);
    settings
}

/// The calls of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Renew,
    Acquire,
    Release,
    Fetch,
    Settle,
    Probe,
    Execute,
}

impl Kind {
    pub(crate) const fn of(command: &Command) -> Self {
        match command {
            Command::Renew(_) => Self::Renew,
            Command::Acquire(_) => Self::Acquire,
            Command::Release(_) => Self::Release,
            Command::Fetch(..) => Self::Fetch,
            Command::Settle(..) => Self::Settle,
            Command::Execute(_) => Self::Execute,
            Command::Probe => Self::Probe,
        }
    }
}

/// The answer to a command.
#[derive(Debug)]
pub(crate) enum Reply {
    Renewed(Result<Renewed>),
    Acquired(Result<Acquired>),
    Released(Result<()>),
    Fetched(CallId, Result<Fetched>),
    Settled(CallId, Result<Vec<Settled>>),
    Probed(Result<Durability>),
}

/// The reply to a call that timed out.
pub(crate) fn lost(command: &Command) -> Reply {
    let error = || Error::unavailable("no reply");
    match command {
        Command::Renew(_) => Reply::Renewed(Err(error())),
        Command::Acquire(_) => Reply::Acquired(Err(error())),
        Command::Release(_) => Reply::Released(Err(error())),
        Command::Fetch(call, _) => Reply::Fetched(*call, Err(error())),
        Command::Settle(call, _) => Reply::Settled(*call, Err(error())),
        Command::Probe => Reply::Probed(Err(error())),
        Command::Execute(_) => panic!("an execution has outcomes, not a reply"),
    }
}

/// What the store does with a command, and its answer.
pub(crate) fn effect(store: &mut Store, command: &Command, now: Duration) -> Reply {
    match command {
        Command::Renew(request) => Reply::Renewed(Ok(store.renew(request, now))),
        Command::Acquire(request) => Reply::Acquired(Ok(store.acquire(request, now))),
        Command::Release(request) => {
            store.release(request);
            Reply::Released(Ok(()))
        }
        Command::Fetch(call, request) => Reply::Fetched(*call, Ok(store.fetch(request, now))),
        Command::Settle(call, settlements) => {
            Reply::Settled(*call, Ok(store.settle(settlements, now)))
        }
        Command::Probe => Reply::Probed(Ok(Durability::Synced)),
        Command::Execute(_) => panic!("an execution is not the store's"),
    }
}

pub(crate) fn feed(machine: &mut Machine, reply: Reply, now: Time) {
    match reply {
        Reply::Renewed(reply) => machine.renewed(reply, now),
        Reply::Acquired(reply) => machine.acquired(reply, now),
        Reply::Released(reply) => machine.released(reply, now),
        Reply::Fetched(call, reply) => machine.fetched(call, reply, now),
        Reply::Settled(call, reply) => machine.settled(call, reply, now),
        Reply::Probed(reply) => machine.probed(&reply, now),
    }
}

type Script = Box<dyn FnMut(&Message) -> Option<Outcome>>;

/// The rig. What is not held back is answered at once.
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) now: Duration,
    /// The calls that are held back in `waiting`.
    pub(crate) hold: BTreeSet<Kind>,
    pub(crate) waiting: VecDeque<Command>,
    /// Executions without an outcome yet.
    pub(crate) flying: BTreeMap<RunId, Message>,
    /// Whether probes succeed.
    pub(crate) broker_is_up: bool,
    script: Script,
    /// What was executed, in order.
    pub(crate) ran: Vec<String>,
    pub(crate) fetches: Vec<FetchRequest>,
    pub(crate) settled: Vec<Settlement>,
    pub(crate) events: Vec<Event>,
    /// Every command and its time.
    pub(crate) log: Vec<(Duration, Kind)>,
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig")
            .field("machine", &self.machine)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Rig {
    pub(crate) fn new(settings: Settings, store: Store) -> Self {
        let ids = Arc::new(Ids::default());
        Self::with(settings, store, ids, ms(0))
    }

    /// A rig that starts later, as another process on the same store.
    pub(crate) fn with(
        settings: Settings,
        store: Store,
        ids: Arc<dyn IdSource>,
        now: Duration,
    ) -> Self {
        let random = fastrand::Rng::with_seed(7);
        Self {
            machine: Machine::new(settings, ids, random, Time::at(now)),
            store,
            now,
            hold: BTreeSet::new(),
            waiting: VecDeque::new(),
            flying: BTreeMap::new(),
            broker_is_up: true,
            script: Box::new(|_| None),
            ran: Vec::new(),
            fetches: Vec::new(),
            settled: Vec::new(),
            events: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Answers executions at once with what `script` says; `None` leaves one in flight.
    pub(crate) fn script(&mut self, script: impl FnMut(&Message) -> Option<Outcome> + 'static) {
        self.script = Box::new(script);
    }

    pub(crate) const fn time(&self) -> Time {
        Time::at(self.now)
    }

    /// Polls and answers until nothing more happens at this time.
    pub(crate) fn step(&mut self) {
        for _ in 0..100_000 {
            let mut replies = VecDeque::new();
            let mut quiet = true;
            while let Some(command) = self.machine.poll(self.time()) {
                quiet = false;
                self.take(command, &mut replies);
            }
            for command in replies {
                let reply = self.effect(&command);
                self.reply(reply);
            }
            let played = self.play();
            let events: Vec<Event> = self.machine.events().collect();
            assert!(!events.contains(&Event::SetAside { count: 0 }));
            self.events.extend(events);
            if quiet && !played {
                return;
            }
        }
        panic!("the machine never comes to rest at {:?}", self.now);
    }

    fn take(&mut self, command: Command, replies: &mut VecDeque<Command>) {
        let kind = Kind::of(&command);
        self.log.push((self.now, kind));
        match &command {
            Command::Fetch(_, request) => self.fetches.push(request.clone()),
            Command::Settle(_, settlements) => self.settled.extend(settlements.iter().cloned()),
            Command::Execute(batch) => {
                for (run, message) in batch {
                    self.ran.push(message.id().to_string());
                    self.flying.insert(*run, message.clone());
                }
                return;
            }
            _ => {}
        }
        if self.hold.contains(&kind) {
            self.waiting.push_back(command);
        } else {
            replies.push_back(command);
        }
    }

    /// Answers what the script answers. Returns whether there was anything.
    fn play(&mut self) -> bool {
        let before = self.flying.len();
        let flying: Vec<_> = self.flying.clone().into_iter().collect();
        for (run, message) in flying {
            if let Some(outcome) = (self.script)(&message) {
                self.flying.remove(&run);
                self.machine.outcome(run, outcome, self.time());
            }
        }
        self.flying.len() < before
    }

    pub(crate) fn effect(&mut self, command: &Command) -> Reply {
        if matches!(command, Command::Probe) && !self.broker_is_up {
            return lost(command);
        }
        effect(&mut self.store, command, self.now)
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        let now = self.time();
        feed(&mut self.machine, reply, now);
    }

    /// The oldest call of this kind that is held back.
    pub(crate) fn held_back(&mut self, kind: Kind) -> Command {
        let index = self
            .waiting
            .iter()
            .position(|command| Kind::of(command) == kind)
            .unwrap_or_else(|| panic!("no {kind:?} is held back"));
        self.waiting.remove(index).unwrap()
    }

    /// Answers the oldest fetch that is held back: it found a late row of partition 0 in a crowd, and set
    /// it aside.
    pub(crate) fn find_aside(&mut self, seq: Seq, id: &str, key: &str) {
        self.store.put(0, seq, id, key, self.now);
        self.store.row_mut(id).state = State::Waiting;
        let Command::Fetch(call, _) = self.held_back(Kind::Fetch) else {
            unreachable!()
        };
        let mut fetched = Fetched::default();
        fetched.aside.push(Aside {
            partition: Partition::new(0),
            key: OrderingKey::new(key).unwrap(),
            first: seq,
            count: 1,
        });
        self.reply(Reply::Fetched(call, Ok(fetched)));
    }

    /// Performs and answers the oldest call of this kind that is held back, and goes on.
    pub(crate) fn answer(&mut self, kind: Kind) {
        let command = self.held_back(kind);
        let reply = self.effect(&command);
        self.reply(reply);
        self.step();
    }

    /// Performs the oldest call of this kind that is held back, and loses its reply.
    pub(crate) fn lose_reply(&mut self, kind: Kind) {
        let command = self.held_back(kind);
        self.effect(&command);
        self.reply(lost(&command));
        self.step();
    }

    /// Performs and answers every call of this kind that is held back, and goes on.
    pub(crate) fn let_go(&mut self, kind: Kind) {
        self.hold.remove(&kind);
        let (go, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|command| Kind::of(command) == kind);
        self.waiting = stay;
        for command in go {
            let reply = self.effect(&command);
            self.reply(reply);
        }
        self.step();
    }

    /// Gives the outcome of the execution of `id` under way, and goes on.
    pub(crate) fn outcome(&mut self, id: &str, outcome: Outcome) {
        let run = *self
            .flying
            .iter()
            .find(|(_, message)| message.id().as_str() == id)
            .unwrap_or_else(|| panic!("{id} is not in flight"))
            .0;
        self.flying.remove(&run);
        let now = self.time();
        self.machine.outcome(run, outcome, now);
        self.step();
    }

    /// Lets this much time pass, from deadline to deadline.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.step();
        while self.now < end {
            let deadline = self.machine.deadline(self.time()).map(Time::since_start);
            self.now = deadline
                .unwrap_or(end)
                .clamp(self.now + ms(1), end.max(self.now + ms(1)));
            self.step();
        }
    }

    /// The ids in flight, sorted.
    pub(crate) fn in_flight(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .flying
            .values()
            .map(|message| message.id().to_string())
            .collect();
        ids.sort();
        ids
    }

    /// How many commands of this kind there were.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.log.iter().filter(|(_, other)| *other == kind).count()
    }
}

pub(crate) const fn ok() -> Outcome {
    Outcome::Ok { duplicate: false }
}

pub(crate) fn transient() -> Outcome {
    Outcome::Transient {
        reason: "not now".into(),
        after: None,
    }
}

pub(crate) fn permanent() -> Outcome {
    Outcome::Permanent {
        reason: "never".into(),
    }
}

pub(crate) fn unavailable() -> Outcome {
    Outcome::Unavailable {
        reason: "not connected".into(),
    }
}

pub(crate) fn unknown() -> Outcome {
    Outcome::Unknown {
        reason: "no answer".into(),
    }
}
