//! The world of one run: what is in it, and its phases.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use iobox_core::{
    dispatch::Bug,
    inbox::{HandlerName, SourceName},
    memory::{MemoryBroker, MemoryClock, MemoryStore},
    partition::Partitions,
    queue::Queue,
    store::{Admin, Ingest, Receive, Stats, Subscribe},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    broker::Scripts,
    chaos::Chaos,
    gate::GatedStore,
    handler,
    history::{Entry, Event, History, Lane, Process},
    ids::SeededIds,
    operator,
    plan::{Mode, Plan, Trim},
    process::{Running, Slot},
    producer::{Producers, Target},
    source::{Consumer, offset_of},
};

/// What one run left behind.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: usize,
    /// How many faults the gates drew.
    pub(crate) struck: u32,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bug: Option<Bug>,
    pub(crate) outbox: MemoryStore,
    pub(crate) inbox: MemoryStore,
    pub(crate) broker: MemoryBroker,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) chaos: Arc<Chaos>,
    pub(crate) history: History,
    pub(crate) scripts: Scripts,
    pub(crate) handlers: handler::Scripts,
    pub(crate) names: [crate::gate::Names; 2],
    pub(crate) random: fastrand::Rng,
    pub(crate) kills: (mpsc::Sender<Process>, mpsc::Receiver<Process>),
    /// Who died while nobody could fill the slot.
    pub(crate) dead: Vec<Process>,
    pub(crate) running: BTreeMap<Slot, Running>,
    pub(crate) next: Process,
    pub(crate) start: Instant,
}

/// The name of the only source.
pub(crate) fn source_name() -> SourceName {
    SourceName::new("log").expect("it is valid")
}

/// Runs one seed to its end.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Run {
    run_trimmed(seed, bug, &Trim::default())
}

/// Runs one seed to its end, without what is left out.
pub(crate) fn run_trimmed(seed: u64, bug: Option<Bug>, trim: &Trim) -> Run {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Without this tokio wakes the waiters of one watch channel in an order that no seed knows.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder
        .build()
        .expect("a runtime of one thread needs nothing");
    runtime.block_on(async {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut random).trimmed(trim);
        World::new(plan, bug, &mut random).run(random).await
    })
}

#[cfg(iobox_bugs)]
fn plant(store: &MemoryStore, bug: Option<Bug>) {
    if let Some(bug) = bug {
        store.plant(bug);
    }
}

#[cfg(not(iobox_bugs))]
fn plant(_: &MemoryStore, bug: Option<Bug>) {
    assert!(
        bug.is_none(),
        "bugs are planted under --cfg iobox_bugs alone"
    );
}

impl World {
    fn new(plan: Plan, bug: Option<Bug>, random: &mut fastrand::Rng) -> Self {
        let partitions = Partitions::new(plan.partitions).expect("the plan draws powers of two");
        let mut store = || {
            let clock = MemoryClock::starting_at(Duration::from_secs(1_000_000));
            let store =
                MemoryStore::with(partitions, clock, Arc::new(SeededIds::new(random.u64(..))));
            plant(&store, bug);
            store
        };
        Self {
            outbox: store(),
            inbox: store(),
            chaos: Arc::new(Chaos {
                random: Mutex::new(random.fork()),
                rates: plan.rates.clone(),
                favourite: plan.favourite,
                healed: AtomicBool::new(false),
                store_down: AtomicBool::new(false),
                broker_down: AtomicBool::new(false),
                longest: plan.ttl,
                wire: Mutex::default(),
                struck: AtomicU32::new(0),
                only: plan.only.clone(),
            }),
            plan,
            bug,
            broker: MemoryBroker::new(),
            consumer: Arc::default(),
            history: History::new(),
            scripts: Scripts::default(),
            handlers: handler::Scripts::default(),
            names: Default::default(),
            random: random.fork(),
            kills: mpsc::channel(16),
            dead: Vec::new(),
            running: BTreeMap::new(),
            next: 0,
            start: Instant::now(),
        }
    }

    pub(crate) fn relays(&self) -> bool {
        self.plan.mode != Mode::Inbox
    }

    pub(crate) fn inboxes(&self) -> bool {
        self.plan.mode != Mode::Outbox
    }

    async fn run(mut self, mut random: fastrand::Rng) -> Run {
        let producers = Producers {
            target: if self.relays() {
                Target::Outbox(self.outbox.clone())
            } else {
                Target::Broker(self.broker.clone())
            },
            scripts: Arc::clone(&self.scripts),
            history: self.history.of(Lane::Outbox),
            chaos: Arc::clone(&self.chaos),
            ids: Arc::new(SeededIds::new(random.u64(..))),
        };
        let producers = tokio::spawn(producers.produce(self.plan.clone(), random.fork()));
        for slot in self.slots() {
            self.begin(slot);
        }
        self.safety().await;
        producers.await.expect("producers do not panic");
        self.heal().await;
        self.liveness(&mut random).await;
        // Copies on the way arrive before the end, and are handled too.
        self.chaos.settle_down().await;
        self.liveness(&mut random).await;
        self.end().await;
        let faults = self.history.faults();
        Run {
            plan: self.plan,
            entries: self.history.take(),
            faults,
            struck: self.chaos.struck.load(Ordering::Relaxed),
        }
    }

    /// The queues that exist by now.
    async fn queues(&self) -> Vec<GatedStore> {
        let life = self.life().0;
        let mut queues = Vec::new();
        if self.relays() {
            queues.push(self.gate_of_outbox(&life));
        }
        let inbox = self.gate_of_inbox(&life);
        for number in 0..self.plan.handlers.len() {
            let number = u8::try_from(number).expect("there are few handlers");
            let name = HandlerName::new(handler::name_of(number)).expect("names are valid");
            if let Ok(inner) = self.inbox.queue_of(&name).await {
                let (queue, lane) = (Queue::Inbox(name), Lane::Handler(number));
                queues.push(inbox.another(inner, queue, lane));
            }
        }
        queues
    }

    /// Waits until nothing moves any more, or for as long as it may take; the operator deals with
    /// what is dead then.
    async fn liveness(&mut self, random: &mut fastrand::Rng) {
        for _ in 0..8 {
            self.quiet().await;
            let mut dead = 0;
            for queue in self.queues().await {
                dead += operator::deal_with_dead(&queue, random).await;
            }
            if dead == 0 {
                return;
            }
        }
    }

    async fn quiet(&mut self) {
        let bound = self.plan.ttl * 12 + self.plan.backoff_cap * 4 + Duration::from_secs(60);
        let end = Instant::now() + bound;
        while Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
            while let Some(process) = self.next_death(Duration::ZERO).await {
                self.crash_process(process).await;
            }
            if self.is_quiet().await {
                return;
            }
        }
    }

    async fn is_quiet(&self) -> bool {
        for queue in self.queues().await {
            let stats = queue.stats(&queue.queue).await;
            let Stats {
                pending,
                retrying,
                waiting,
                halted_keys,
                ..
            } = stats.expect("memory does not fail");
            let behind_dead = waiting > 0 && halted_keys > 0;
            if pending > 0 || retrying > 0 || (waiting > 0 && !behind_dead) {
                return false;
            }
        }
        let position = self.inbox.position(&source_name()).await;
        let position = position.expect("memory does not fail");
        let read = position.as_ref().map_or(0, offset_of);
        !self.inboxes() || read == self.broker.len()
    }

    async fn end(&mut self) {
        for slot in self.slots() {
            self.drain(slot).await;
        }
        self.chaos.settle_down().await;
        for queue in self.queues().await {
            for entry in queue.entries().await {
                queue.history.add(Event::Row {
                    id: entry.id,
                    state: entry.state,
                    attempt: entry.attempt,
                    halts: entry.halts,
                    uncertain: entry.uncertain,
                    partition: entry.partition,
                    key: entry.key.map(|key| key.as_str().to_owned()),
                    seq: entry.seq,
                });
            }
        }
        if !self.inboxes() {
            return;
        }
        for effect in self.gate_of_inbox(&self.life().0).entries().await {
            let effect = effect.key.expect("effects have keys");
            let (number, id) = effect
                .as_str()
                .split_once(' ')
                .expect("a handler and an id");
            let lane = Lane::Handler(number.parse().expect("handlers have numbers"));
            let id = id.to_owned();
            self.history.of(lane).add(Event::Effect { id });
        }
        let count = self.inbox.unrouted().await.expect("memory does not fail");
        self.history.of(Lane::Ingest).add(Event::Unrouted { count });
    }
}
