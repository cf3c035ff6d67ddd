//! The turns of the driver: poll the machine, perform, wait, feed back.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    calls::{self, Reply, Timeouts},
    executor::{Execution, Executor, Reports},
    observe,
    telemetry::Telemetry,
    wake,
};
use crate::{
    dispatch::{BreakerState, CallId, Command, Machine, Outcome, RunId, Settings, Time},
    message::IdSource,
    observer::Observer,
    queue::Queue,
    store::{Epoch, Listener, Store},
};

/// What the driver looks like at the end of a turn.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) struct Turn {
    pub(crate) at: Instant,
    pub(crate) partitions: usize,
    /// The epoch under which the first partition is held, if it is.
    pub(crate) first: Option<Epoch>,
    pub(crate) in_flight: usize,
    pub(crate) buffered_rows: usize,
    pub(crate) buffered_bytes: usize,
    pub(crate) breaker: BreakerState,
    pub(crate) drained: bool,
}

impl Turn {
    pub(crate) fn first() -> Self {
        Self {
            at: clock(),
            partitions: 0,
            first: None,
            in_flight: 0,
            buffered_rows: 0,
            buffered_bytes: 0,
            breaker: BreakerState::Closed,
            drained: false,
        }
    }
}

/// Drives one machine.
pub(crate) struct Driver<E> {
    machine: Machine,
    store: Arc<dyn Store>,
    executor: Arc<E>,
    start: Instant,
    timeouts: Timeouts,
    calls: JoinSet<Reply>,
    /// The command that each call answers, for a call that panicked.
    executions: JoinSet<()>,
    reports: Reports,
    outcomes: mpsc::Receiver<(RunId, Outcome)>,
    signal: Listener,
    telemetry: Telemetry,
    observer: Option<(Queue, Arc<dyn Observer>)>,
    turns: watch::Sender<Turn>,
    idle: watch::Sender<bool>,
    wakes: mpsc::Receiver<()>,
    /// Aborted when the driver is dropped.
    _wake_loop: JoinSet<()>,
}

impl<E: Executor> Driver<E> {
    pub(crate) fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        executor: Arc<E>,
        ids: Arc<dyn IdSource>,
        turns: watch::Sender<Turn>,
    ) -> Self {
        let seed = ids.draw().as_u64_pair();
        let random = fastrand::Rng::with_seed(seed.0 ^ seed.1.rotate_left(32));
        let timeouts = Timeouts {
            lease: (settings.ttl / 3).max(settings.settle_timeout),
            fetch: settings.settle_timeout * 10,
            settle: settings.settle_timeout,
        };
        let (reports, outcomes) = Reports::bounded(settings.max_in_flight + settings.batch);
        let (wake_sender, wakes) = mpsc::channel(1);
        let idle = watch::Sender::new(false);
        let mut wake_loop = JoinSet::new();
        if let Some(wake_up) = store.wake_up().filter(|_| !settings.rights_only) {
            wake_loop.spawn(wake::watch_database(
                wake_up,
                settings.queue.clone(),
                idle.subscribe(),
                wake_sender,
            ));
        }
        Self {
            telemetry: Telemetry::new(&settings.queue),
            observer: None,
            machine: Machine::new(settings, ids, random, Time::default()),
            signal: store.signal().listen(),
            store,
            executor,
            start: clock(),
            timeouts,
            calls: JoinSet::new(),
            executions: JoinSet::new(),
            reports,
            outcomes,
            turns,
            idle,
            wakes,
            _wake_loop: wake_loop,
        }
    }

    /// Has `observer` told of what the store confirmed.
    pub(crate) fn observed(mut self, queue: &Queue, observer: Option<&Arc<dyn Observer>>) -> Self {
        self.observer = observer.map(|observer| (queue.clone(), Arc::clone(observer)));
        self
    }

    /// Runs until `shutdown` completes and the drain is over.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut draining = false;
        loop {
            let now = self.now();
            while let Some(command) = self.machine.poll(now) {
                self.perform(command);
            }
            self.end_turn(now);
            if self.machine.is_drained(now) {
                break;
            }
            let deadline = self.deadline(now);
            tokio::select! {
                biased;
                () = &mut shutdown, if !draining => {
                    draining = true;
                    self.machine.drain(self.now());
                }
                Some((run, outcome)) = self.outcomes.recv() => self.take_outcomes(run, outcome),
                Some(reply) = self.calls.join_next() => {
                    if let Ok(reply) = reply {
                        self.answer(reply);
                    }
                }
                hint = self.signal.next() => self.machine.wake(hint, self.now()),
                Some(()) = self.wakes.recv() => {
                    self.machine.wake(crate::store::Hint::Wake, self.now());
                }
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn now(&self) -> Time {
        Time::at(self.start.elapsed())
    }

    /// When to look at the machine again, never at once: a deadline that has passed without a
    /// command waits for an input.
    fn deadline(&self, now: Time) -> Instant {
        const SHORTEST: std::time::Duration = std::time::Duration::from_millis(1);
        const LONGEST: std::time::Duration = std::time::Duration::from_secs(60);
        let at = self.machine.deadline(now).unwrap_or(now + LONGEST);
        let wait = (at - now).clamp(SHORTEST, LONGEST);
        self.start + now.since_start() + wait
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Execute(batch) => {
                self.telemetry.executing(batch.len());
                let executor = Arc::clone(&self.executor);
                let machine = &self.machine;
                let batch = batch
                    .into_iter()
                    .map(|(run, message)| Execution {
                        run,
                        message,
                        success: E::RECORDS.then(|| machine.success_of(run)).flatten(),
                    })
                    .collect();
                self.executions
                    .spawn(executor.execute(batch, self.reports.clone()));
            }
            Command::Probe => {
                let executor = Arc::clone(&self.executor);
                let probe = async move { Some(Reply::Probed(executor.probe().await)) };
                self.call(probe, panicked(&Command::Probe));
            }
            command => {
                let fallback = panicked(&command);
                let call = calls::perform(Arc::clone(&self.store), command, self.timeouts);
                self.call(call, fallback);
            }
        }
    }

    /// Makes a call in a task of its own; one that panics is answered by `fallback`.
    fn call(
        &mut self,
        call: impl Future<Output = Option<Reply>> + Send + 'static,
        fallback: Reply,
    ) {
        self.calls.spawn(async move {
            let mut task = JoinSet::new();
            task.spawn(call);
            match task.join_next().await {
                Some(Ok(Some(reply))) => reply,
                _ => fallback,
            }
        });
    }

    fn answer(&mut self, reply: Reply) {
        let now = self.now();
        match reply {
            Reply::Renewed(reply) => self.machine.renewed(reply, now),
            Reply::Acquired(reply) => self.machine.acquired(reply, now),
            Reply::Released(reply) => self.machine.released(reply, now),
            Reply::Fetched(call, reply) => self.machine.fetched(call, reply, now),
            Reply::Settled(call, reply) => self.machine.settled(call, reply, now),
            Reply::Probed(reply) => {
                if let Err(error) = &reply {
                    tracing::warn!(%error, "the broker did not answer a probe");
                }
                self.machine.probed(&reply, now);
            }
        }
    }

    /// Takes every outcome that is there, so that the next commands are as large as they can be.
    fn take_outcomes(&mut self, run: RunId, outcome: Outcome) {
        let now = self.now();
        self.machine.outcome(run, outcome, now);
        while let Ok((run, outcome)) = self.outcomes.try_recv() {
            self.machine.outcome(run, outcome, now);
        }
    }

    fn end_turn(&mut self, now: Time) {
        // Each reported its outcomes, so that nobody waits for its end.
        while self.executions.try_join_next().is_some() {}
        let observer = self.observer.as_ref();
        let told = self.machine.events().inspect(|event| {
            if let Some((queue, observer)) = observer {
                observe::tell(observer, queue, event);
            }
        });
        self.telemetry.note_all(told);
        let (buffered_rows, buffered_bytes) = self.machine.buffered();
        let turn = Turn {
            at: self.start + now.since_start(),
            partitions: self.machine.partitions().count(),
            first: self
                .machine
                .partitions()
                .find_map(|(partition, epoch)| (partition.number() == 0).then_some(epoch)),
            in_flight: self.machine.in_flight(),
            buffered_rows,
            buffered_bytes,
            breaker: self.machine.breaker(),
            drained: self.machine.is_drained(now),
        };
        if self.telemetry.wants_gauges(now) {
            self.telemetry.gauges(&turn, self.machine.oldest_age(now));
        }
        self.turns.send_replace(turn);
        let idle = self.machine.is_idle();
        self.idle
            .send_if_modified(|was| std::mem::replace(was, idle) != idle);
    }
}

/// The reply to a command whose call panicked: the machine repeats it.
fn panicked(command: &Command) -> Reply {
    let error = || crate::Error::internal("a call panicked");
    let call = |call: &CallId| *call;
    match command {
        Command::Renew(_) => Reply::Renewed(Err(error())),
        Command::Acquire(_) => Reply::Acquired(Err(error())),
        Command::Release(_) => Reply::Released(Err(error())),
        Command::Fetch(id, _) => Reply::Fetched(call(id), Err(error())),
        Command::Settle(id, _) => Reply::Settled(call(id), Err(error())),
        Command::Execute(_) | Command::Probe => Reply::Probed(Err(error())),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the driver's clock is tokio's, which simulations pause"
)]
pub(crate) fn clock() -> Instant {
    Instant::now()
}
