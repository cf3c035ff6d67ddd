//! The processes of a run: how each starts and ends.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use iobox_core::{
    Inbox, Relay, Result, Router,
    dispatch::{BreakerPolicy, RetryPolicy},
    inbox::HandlerPolicy,
    queue::Queue,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    broker::GatedPublisher,
    gate::GatedStore,
    handler::{self, Work},
    history::{Event, Lane, Process},
    ids::SeededIds,
    life::Life,
    operator::Operator,
    pause::Stopped,
    plan::HandlerPlan,
    source::GatedSource,
    world::{World, source_name},
};

/// A place for a process; one that ends is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Relay(usize),
    Inbox(usize),
    Operator,
}

/// A simulated process.
pub(crate) struct Running {
    pub(crate) process: Process,
    life: Life,
    stop: watch::Sender<bool>,
    shutdown: Option<oneshot::Sender<()>>,
    handle: JoinHandle<()>,
    ids: u64,
    /// How many handlers it has.
    handlers: usize,
}

fn retry(backoff_cap: Duration, max_attempts: u32) -> RetryPolicy {
    RetryPolicy::new(Duration::from_millis(10), backoff_cap, max_attempts)
        .expect("the plan draws valid values")
}

impl World {
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let relays = if self.relays() {
            self.plan.instances
        } else {
            0
        };
        let inboxes = if self.inboxes() { self.plan.inboxes } else { 0 };
        (0..relays)
            .map(Slot::Relay)
            .chain((0..inboxes).map(Slot::Inbox))
            .collect()
    }

    /// The life of a new process, and what stops it.
    pub(crate) fn life(&self) -> (Life, watch::Sender<bool>) {
        let (stop, stopped) = Stopped::new();
        let life = Life {
            process: self.next,
            chaos: Arc::clone(&self.chaos),
            history: self.history.clone(),
            stopped,
            kills: self.kills.0.clone(),
            dead: Arc::new(AtomicBool::new(false)),
            draining: Arc::new(AtomicBool::new(false)),
        };
        (life, stop)
    }

    fn gate(&self, life: &Life, lane: Lane) -> GatedStore {
        let (inner, names) = match lane {
            Lane::Outbox => (&self.outbox, &self.names[0]),
            _ => (&self.inbox, &self.names[1]),
        };
        GatedStore {
            inner: inner.clone(),
            queue: Queue::Outbox,
            life: life.clone(),
            history: self.history.of(lane),
            lane,
            names: Arc::clone(names),
        }
    }

    pub(crate) fn gate_of_outbox(&self, life: &Life) -> GatedStore {
        self.gate(life, Lane::Outbox)
    }

    pub(crate) fn gate_of_inbox(&self, life: &Life) -> GatedStore {
        self.gate(life, Lane::World)
    }

    /// The ids of a new process, which may be those of another one.
    fn draw_ids(&mut self, slot: Slot) -> u64 {
        let fresh = self.random.u64(..);
        let of_the_kind = |other: &Slot| match slot {
            Slot::Relay(_) => matches!(other, Slot::Relay(_)),
            _ => matches!(other, Slot::Inbox(_)),
        };
        let twin = self.running.iter().find(|(other, _)| of_the_kind(other));
        match twin {
            Some((_, twin)) if self.chaos.strikes(self.chaos.rates.twin) => {
                self.history.add(Event::Fault {
                    what: "a twin starts",
                });
                twin.ids
            }
            _ => fresh,
        }
    }

    /// How many handlers programs have by now.
    pub(crate) fn version(&self) -> usize {
        let passed = self.start.elapsed().div_duration_f64(self.plan.safety);
        let handlers = &self.plan.handlers;
        if self.chaos.healed() {
            return handlers.len();
        }
        let known = |handler: &&HandlerPlan| handler.since <= passed;
        handlers.iter().take_while(known).count()
    }

    /// Whether a process has not all the handlers that there are.
    pub(crate) fn is_old(&self, slot: Slot) -> bool {
        let running = self.running.get(&slot);
        matches!(slot, Slot::Inbox(_)) && running.is_some_and(|one| one.handlers < self.version())
    }

    /// Whether another process has the same ids.
    pub(crate) fn is_twin(&self, slot: Slot) -> bool {
        let ids = self.running.get(&slot).map(|one| one.ids);
        let same = |(other, one): (&Slot, &Running)| *other != slot && Some(one.ids) == ids;
        self.running.iter().any(same)
    }

    /// Starts a process.
    pub(crate) fn begin(&mut self, slot: Slot) {
        let process = self.next;
        let ids = self.draw_ids(slot);
        let (life, stop) = self.life();
        self.next += 1;
        self.history.add(Event::Started { process });
        let (shutdown, stopping) = oneshot::channel::<()>();
        let shutdown_came = async move {
            // A dropped sender is a crash, which is not a shutdown.
            if stopping.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let handlers = self.version();
        let stopped = life.stopped.clone();
        let history = self.history.clone();
        let ended = move |result: Result<()>| {
            result.expect("nothing to refuse");
            history.add(Event::Drained { process });
        };
        let handle = match slot {
            Slot::Relay(_) => {
                let relay = self.relay(&life, ids);
                let run = relay.run(shutdown_came);
                tokio::spawn(stopped.guard(async move { ended(run.await) }))
            }
            Slot::Inbox(_) => {
                let inbox = self.inbox(&life, ids, handlers);
                let run = async move { ended(inbox.run(shutdown_came).await) };
                tokio::spawn(stopped.guard(run))
            }
            Slot::Operator => tokio::spawn(self.operator(&life).work()),
        };
        self.running.insert(
            slot,
            Running {
                process,
                life,
                stop,
                shutdown: Some(shutdown),
                handle,
                ids,
                handlers,
            },
        );
    }

    fn relay(&self, life: &Life, ids: u64) -> Relay {
        let store = self.gate_of_outbox(life);
        let publisher = GatedPublisher {
            inner: self.broker.clone(),
            life: life.clone(),
            history: self.history.of(Lane::Outbox),
            scripts: Arc::clone(&self.scripts),
        };
        let plan = &self.plan;
        let breaker = BreakerPolicy::new(3, plan.ttl / 10);
        let builder = Relay::builder(store, publisher)
            .batch(plan.batch)
            .max_in_flight(plan.max_in_flight)
            .time_to_live(plan.ttl)
            .publish_timeout(plan.ttl * 35 / 100)
            .settle_timeout(plan.ttl / 5)
            .settle_linger(plan.linger)
            .poll(Duration::from_millis(5), plan.ttl / 4)
            .retry(retry(plan.backoff_cap, plan.max_attempts))
            .breaker(breaker.expect("the plan draws valid values"))
            .dead_letters(plan.policy)
            .grace(plan.ttl)
            .retention(None)
            .ids(Arc::new(SeededIds::new(ids)));
        #[cfg(iobox_bugs)]
        let builder = match self.bug {
            Some(bug) => builder.plant(bug),
            None => builder,
        };
        builder.build().expect("the plan draws valid settings")
    }

    fn inbox(&self, life: &Life, ids: u64, handlers: usize) -> Inbox<GatedStore> {
        let plan = &self.plan;
        let mut router = Router::new();
        for (number, handler) in (0_u8..).zip(&plan.handlers).take(handlers) {
            let work = Work {
                number,
                life: life.clone(),
                scripts: self.handlers.clone(),
                effects: self.inbox.clone(),
            };
            let name = handler::name_of(number);
            let mut route = if handler.transactional {
                router.on_tx(&handler.pattern, name, work)
            } else {
                router.on(&handler.pattern, name, work)
            };
            let policy = HandlerPolicy::new()
                .timeout(plan.ttl.mul_f64(handler.timeout))
                .concurrency(handler.concurrency)
                .retry(retry(plan.backoff_cap, handler.max_attempts))
                .dead_letters(handler.policy);
            route.policy(policy);
        }
        let source = GatedSource {
            name: source_name(),
            broker: self.broker.clone(),
            consumer: Arc::clone(&self.consumer),
            removes: plan.removes,
            life: life.clone(),
            bug: self.bug,
        };
        let horizon = Self::HORIZON;
        let builder = Inbox::builder(self.gate_of_inbox(life), router)
            .source(source)
            .time_to_live(plan.ttl)
            .poll(Duration::from_millis(5), plan.ttl / 4)
            .grace(plan.ttl)
            .redelivery_horizon(horizon)
            .retention(horizon)
            .ids(Arc::new(SeededIds::new(ids)));
        #[cfg(iobox_bugs)]
        let builder = match self.bug {
            Some(bug) => builder.plant(bug),
            None => builder,
        };
        builder.build().expect("the plan draws valid settings")
    }

    /// For how long after its reception a message must be known.
    pub(crate) const HORIZON: Duration = Duration::from_secs(60);

    fn operator(&mut self, life: &Life) -> Operator {
        let mut stores = Vec::new();
        if self.relays() {
            stores.push(self.gate_of_outbox(life));
        }
        if self.inboxes() {
            stores.push(self.gate_of_inbox(life));
        }
        Operator {
            stores,
            handlers: self.plan.handlers.len(),
            random: self.random.fork(),
            pace: self.plan.ttl / 2,
        }
    }

    /// Kills what runs in a slot.
    pub(crate) async fn crash(&mut self, slot: Slot) {
        if let Some(running) = self.running.remove(&slot) {
            let process = running.process;
            running
                .life
                .dead
                .store(true, std::sync::atomic::Ordering::Relaxed);
            running.handle.abort();
            // Only a task that ended before the abort can be missed, and that is fine.
            let _ = running.handle.await;
            self.history.add(Event::Crashed { process });
        }
    }

    /// A process has died: another takes its slot.
    pub(crate) async fn crash_process(&mut self, process: Process) {
        let slot = self.running.iter().find(|(_, r)| r.process == process);
        if let Some(slot) = slot.map(|(slot, _)| *slot) {
            self.crash(slot).await;
            sleep(self.plan.ttl / 20).await;
            self.begin(slot);
        }
    }

    /// Stops a process for three leases, as SIGSTOP does.
    pub(crate) fn pause(&mut self, slot: Slot) {
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

    /// Tells a process to drain, and waits for its end. One that dies meanwhile is dead.
    pub(crate) async fn drain(&mut self, slot: Slot) {
        let Some(mut running) = self.running.remove(&slot) else {
            return;
        };
        let (process, life) = (running.process, running.life);
        if let Some(at) = self.dead.iter().position(|dead| *dead == process) {
            self.dead.swap_remove(at);
            running.handle.abort();
            let _ = running.handle.await;
            self.history.add(Event::Crashed { process });
            return;
        }
        running.stop.send_replace(false);
        self.history.add(Event::DrainAsked { process });
        life.draining
            .store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(shutdown) = running.shutdown.take() {
            // It may have ended by itself.
            let _ = shutdown.send(());
        }
        let mut handle = running.handle;
        loop {
            tokio::select! {
                biased;
                Some(other) = self.kills.1.recv() => {
                    if other == process {
                        handle.abort();
                        let _ = handle.await;
                        self.history.add(Event::Crashed { process });
                        return;
                    }
                    // Dead already; its slot is filled when this one is done.
                    self.dead.push(other);
                }
                ended = &mut handle => {
                    ended.expect("processes do not panic");
                    return;
                }
            }
        }
    }

    /// Lets every process go on.
    pub(crate) fn resume_all(&self) {
        for running in self.running.values() {
            running.stop.send_replace(false);
        }
    }

    /// Waits at most so long for the end of somebody.
    pub(crate) async fn next_death(&mut self, step: Duration) -> Option<Process> {
        if let Some(dead) = self.dead.pop() {
            return Some(dead);
        }
        timeout(step, self.kills.1.recv()).await.ok().flatten()
    }
}
