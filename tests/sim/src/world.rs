//! The world of one run: processes, nemesis, phases.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use iobox_core::{
    Relay,
    dispatch::{BreakerPolicy, Bug, RetryPolicy},
    memory::{MemoryBroker, MemoryClock, MemoryStore},
    partition::Partitions,
    queue::Queue,
    store::{Admin, Filter, Page, State},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::{
    broker::{GatedPublisher, Scripts},
    gate::{Chaos, GatedStore},
    history::{Entry, Event, History, Process},
    ids::SeededIds,
    operator,
    pause::Stopped,
    plan::Plan,
    producer,
};

/// What one run left behind.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: usize,
}

/// A simulated process.
struct Running {
    process: Process,
    stop: watch::Sender<bool>,
    shutdown: Option<oneshot::Sender<()>>,
    handle: JoinHandle<()>,
}

struct World {
    plan: Plan,
    bug: Option<Bug>,
    store: MemoryStore,
    broker: MemoryBroker,
    chaos: Arc<Chaos>,
    history: History,
    scripts: Scripts,
    ids: Arc<SeededIds>,
    random: fastrand::Rng,
    kills: (mpsc::Sender<Process>, mpsc::Receiver<Process>),
    wire: Arc<Mutex<JoinSet<()>>>,
    running: BTreeMap<usize, Running>,
    next: Process,
}

/// Runs one seed to its end.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Run {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Without this tokio wakes the waiters of one watch channel in an order that no seed knows.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder
        .build()
        .expect("a runtime of one thread needs nothing");
    runtime.block_on(simulate(seed, bug))
}

async fn simulate(seed: u64, bug: Option<Bug>) -> Run {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let ids = Arc::new(SeededIds::new(random.u64(..)));
    let clock = MemoryClock::starting_at(Duration::from_secs(1_000_000));
    let partitions = Partitions::new(plan.partitions).expect("the plan draws powers of two");
    let store = MemoryStore::with(partitions, clock, Arc::<SeededIds>::clone(&ids) as Arc<_>);
    plant(&store, bug);
    let history = History::new();
    let mut world = World {
        chaos: Arc::new(Chaos {
            random: Mutex::new(random.fork()),
            rates: plan.rates.clone(),
            healed: AtomicBool::new(false),
            store_down: AtomicBool::new(false),
            broker_down: AtomicBool::new(false),
            longest: plan.ttl,
        }),
        bug,
        store,
        broker: MemoryBroker::new(),
        history: history.clone(),
        scripts: Scripts::default(),
        ids,
        random: random.fork(),
        kills: mpsc::channel(16),
        wire: Arc::default(),
        running: BTreeMap::new(),
        next: 0,
        plan: plan.clone(),
    };
    let producers = tokio::spawn(producer::produce(
        plan.clone(),
        world.store.clone(),
        Arc::clone(&world.scripts),
        history.clone(),
        random.fork(),
    ));
    for slot in 0..plan.instances {
        world.start(slot);
    }
    world.safety().await;
    producers.await.expect("producers do not panic");
    world.heal();
    world.liveness().await;
    let mut operator = random.fork();
    for _ in 0..8 {
        let dead = operator::deal_with_dead(&world.store, &history, &mut operator).await;
        if dead == 0 {
            break;
        }
        world.liveness().await;
    }
    world.end().await;
    let faults = history.faults();
    Run {
        plan,
        entries: history.take(),
        faults,
    }
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
    fn start(&mut self, slot: usize) {
        let process = self.next;
        self.next += 1;
        self.history.add(Event::Started { process });
        let (stop, stopped) = Stopped::new();
        let store = GatedStore {
            inner: self.store.clone(),
            process,
            chaos: Arc::clone(&self.chaos),
            history: self.history.clone(),
            stopped: stopped.clone(),
        };
        let publisher = GatedPublisher {
            inner: self.broker.clone(),
            process,
            chaos: Arc::clone(&self.chaos),
            history: self.history.clone(),
            stopped: stopped.clone(),
            scripts: Arc::clone(&self.scripts),
            kills: self.kills.0.clone(),
            wire: Arc::clone(&self.wire),
        };
        let plan = &self.plan;
        let retry = RetryPolicy::new(
            Duration::from_millis(10),
            plan.backoff_cap,
            plan.max_attempts,
        );
        let breaker = BreakerPolicy::new(3, plan.ttl / 10);
        let builder = Relay::builder(store, publisher)
            .batch(plan.batch)
            .max_in_flight(plan.max_in_flight)
            .time_to_live(plan.ttl)
            .publish_timeout(plan.ttl * 35 / 100)
            .settle_timeout(plan.ttl / 5)
            .settle_linger(plan.linger)
            .poll(Duration::from_millis(5), plan.ttl / 4)
            .retry(retry.expect("the plan draws valid values"))
            .breaker(breaker.expect("the plan draws valid values"))
            .dead_letters(plan.policy)
            .grace(plan.ttl)
            .retention(None)
            .ids(Arc::<SeededIds>::clone(&self.ids) as Arc<_>);
        #[cfg(iobox_bugs)]
        let builder = match self.bug {
            Some(bug) => builder.plant(bug),
            None => builder,
        };
        #[cfg(not(iobox_bugs))]
        let _ = self.bug;
        let relay = builder.build().expect("the plan draws valid settings");
        let (shutdown, stopping) = oneshot::channel::<()>();
        let run = relay.run(async move {
            // A dropped sender is a crash, which is not a shutdown.
            if stopping.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let history = self.history.clone();
        let handle = tokio::spawn(stopped.guard(async move {
            run.await.expect("nothing to refuse");
            history.add(Event::Drained { process });
        }));
        self.running.insert(
            slot,
            Running {
                process,
                stop,
                shutdown: Some(shutdown),
                handle,
            },
        );
    }

    async fn crash(&mut self, slot: usize) {
        if let Some(running) = self.running.remove(&slot) {
            running.handle.abort();
            // Only a task that ended before the abort can be missed, and that is fine.
            let _ = running.handle.await;
            self.history.add(Event::Crashed {
                process: running.process,
            });
        }
    }

    /// The phase of faults.
    async fn safety(&mut self) {
        let end = Instant::now() + self.plan.safety;
        let rates = self.plan.rates.clone();
        while Instant::now() < end {
            let step = self.plan.ttl.mul_f64(0.2 + self.random.f64());
            tokio::select! {
                biased;
                Some(process) = self.kills.1.recv() => {
                    let slot = self.running.iter().find(|(_, r)| r.process == process).map(|(s, _)| *s);
                    if let Some(slot) = slot {
                        self.crash(slot).await;
                        sleep(self.plan.ttl / 20).await;
                        self.start(slot);
                    }
                    continue;
                }
                () = sleep(step) => {}
            }
            let slot = self.random.usize(0..self.plan.instances);
            if self.random.f64() < rates.crash {
                self.crash(slot).await;
                self.start(slot);
            } else if self.random.f64() < rates.drain {
                self.drain(slot).await;
                self.start(slot);
            } else if self.random.f64() < rates.pause {
                self.pause(slot);
            }
            self.toggle(rates.broker_down, rates.store_down);
        }
    }

    fn toggle(&mut self, broker: f64, store: f64) {
        let down = self.random.f64() < broker;
        if down {
            self.history.add(Event::Fault {
                what: "broker goes down",
            });
        }
        self.chaos.broker_down.store(down, Ordering::Relaxed);
        let down = self.random.f64() < store;
        if down {
            self.history.add(Event::Fault {
                what: "store goes down",
            });
        }
        self.chaos.store_down.store(down, Ordering::Relaxed);
    }

    /// Stops a process for three leases, as SIGSTOP does.
    fn pause(&mut self, slot: usize) {
        if let Some(running) = self.running.get(&slot) {
            let (stop, history) = (running.stop.clone(), self.history.clone());
            let (process, pause) = (running.process, self.plan.ttl * 3);
            history.add(Event::Paused { process });
            stop.send_replace(true);
            tokio::spawn(async move {
                sleep(pause).await;
                stop.send_replace(false);
                history.add(Event::Resumed { process });
            });
        }
    }

    async fn drain(&mut self, slot: usize) {
        let Some(mut running) = self.running.remove(&slot) else {
            return;
        };
        running.stop.send_replace(false);
        self.history.add(Event::DrainAsked {
            process: running.process,
        });
        if let Some(shutdown) = running.shutdown.take() {
            // It may have ended by itself.
            let _ = shutdown.send(());
        }
        running.handle.await.expect("relays do not panic");
    }

    fn heal(&mut self) {
        self.chaos.healed.store(true, Ordering::Relaxed);
        self.chaos.broker_down.store(false, Ordering::Relaxed);
        self.chaos.store_down.store(false, Ordering::Relaxed);
        for running in self.running.values() {
            running.stop.send_replace(false);
        }
        self.history.add(Event::Healed);
    }

    /// Waits until nothing moves any more, or for as long as it may take.
    async fn liveness(&mut self) {
        let bound = self.plan.ttl * 12 + self.plan.backoff_cap * 4 + Duration::from_secs(60);
        let end = Instant::now() + bound;
        while Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
            while let Ok(process) = self.kills.1.try_recv() {
                let slot = self
                    .running
                    .iter()
                    .find(|(_, r)| r.process == process)
                    .map(|(s, _)| *s);
                if let Some(slot) = slot {
                    self.crash(slot).await;
                    self.start(slot);
                }
            }
            let stats = self
                .store
                .stats(&Queue::Outbox)
                .await
                .expect("memory does not fail");
            let behind_dead = stats.waiting > 0 && stats.halted_keys > 0;
            if stats.pending == 0 && stats.retrying == 0 && (stats.waiting == 0 || behind_dead) {
                return;
            }
        }
    }

    async fn end(&mut self) {
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            self.drain(slot).await;
        }
        // Copies on the way arrive before the broker is read.
        loop {
            let next = {
                self.wire
                    .lock()
                    .expect("no panic holds the lock")
                    .try_join_next()
            };
            let empty = self
                .wire
                .lock()
                .expect("no panic holds the lock")
                .is_empty();
            if empty {
                break;
            }
            if next.is_none() {
                sleep(Duration::from_millis(100)).await;
            }
        }
        let mut after = None;
        loop {
            let page = Page {
                after,
                limit: 1_000,
            };
            let entries = self
                .store
                .list(&Queue::Outbox, &Filter::default(), page)
                .await
                .expect("the page is valid");
            let Some(last) = entries.last() else { break };
            after = Some(last.seq);
            for entry in entries {
                debug_assert!(State::ALL.contains(&entry.state));
                self.history.add(Event::Row {
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
    }
}
