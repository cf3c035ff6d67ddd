//! The stage: one flow from an outbox through a broker into an inbox, its servers, workers and load.

use std::{
    fs, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::servers::{Postgres, Server};
use tokio::{
    task::{block_in_place, spawn_blocking},
    time::sleep,
};

use crate::{
    load::{KEYS, Load},
    oracle::{Known, Oracle},
    plan::{Event, Kind, Victim, WORKERS},
    support::{POLL, broker::Broker, database::Database, log},
    tally::Tally,
    verdict::Evidence,
    worker::{BOOK, NOTE, Worker},
};

/// How long the work before an event, and the start of all workers, may take.
const PASS_MAX: Duration = Duration::from_secs(90);
/// How long an event waits for a moment in which its victim has work in hand.
const BUSY_MAX: Duration = Duration::from_millis(300);
/// How often the effects are counted.
const COUNT_EVERY: Duration = Duration::from_millis(250);
/// The name of the oracle among the files of the outbox.
const ORACLE: &str = "oracle";
/// How long the end may take beside the backlog: three leases, the longest backoff, and connecting.
const DRAIN_BASE: Duration = Duration::from_secs(15);
/// How many messages of the backlog a second is given.
const DRAIN_RATE: u64 = 50;

/// A flow under load.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    // Before the databases, so that a run that fails ends them before it removes their files.
    workers: Vec<Worker>,
    load: Load,
    from: Arc<Database>,
    to: Arc<Database>,
    broker: Broker,
    postgres: Option<Postgres>,
    noted: log::Progress,
    effects: u64,
    counted: Instant,
    pub(crate) tally: Tally,
}

impl Stage {
    /// Postgres to JetStream to Postgres; one server holds both databases.
    pub(crate) async fn postgres(seed: u64) -> Result<Self> {
        let server = spawn_blocking(|| Postgres::builder().durable(true).private()).await??;
        let url = server.url().to_owned();
        let (from, to) = (Database::at(url.clone(), None), Database::at(url, None));
        let (from, to) = (from.await, to.await);
        let broker = Broker::jetstream().await;
        Self::start(
            "postgres-jetstream-postgres",
            from,
            to,
            broker,
            Some(server),
            seed,
        )
        .await
    }

    /// SQLite to Redis to SQLite.
    pub(crate) async fn sqlite(seed: u64) -> Result<Self> {
        let (from, to) = (Database::sqlite().await, Database::sqlite().await);
        let broker = Broker::redis().await;
        Self::start("sqlite-redis-sqlite", from, to, broker, None, seed).await
    }

    async fn start(
        name: &'static str,
        from: Arc<Database>,
        to: Arc<Database>,
        broker: Broker,
        postgres: Option<Postgres>,
        seed: u64,
    ) -> Result<Self> {
        from.open_accounts(KEYS).await;
        to.open_effects().await;
        let workers = (0..WORKERS).flat_map(|at| {
            [
                Worker::start(Kind::Inbox, at, &to, &broker),
                Worker::start(Kind::Relay, at, &from, &broker),
            ]
        });
        let workers = workers.collect();
        let load = Load::start(&from, Oracle::open(&from.file(ORACLE))?, seed);
        let mut stage = Self {
            name,
            workers,
            load,
            noted: to.progress(),
            from,
            to,
            broker,
            postgres,
            effects: 0,
            counted: Instant::now(),
            tally: Tally::default(),
        };
        stage
            .until(PASS_MAX, "all workers ready", Self::is_ready)
            .await?;
        Ok(stage)
    }

    /// Name and version of its servers.
    pub(crate) fn servers(&mut self) -> Vec<(String, String)> {
        let named = |server: &Server| (server.name().to_owned(), server.version().to_owned());
        let postgres = self.postgres.as_ref().map(|server| named(server));
        let broker = named(self.broker.server());
        postgres.into_iter().chain([broker]).collect()
    }

    fn is_ready(&mut self) -> bool {
        self.workers.iter_mut().all(Worker::is_ready)
    }

    fn handled(&mut self) -> u64 {
        self.noted.count().min(self.effects)
    }

    /// Looks after the workers and lets the writers go on.
    async fn tick(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            let database = if worker.kind == Kind::Relay {
                &self.from
            } else {
                &self.to
            };
            if worker.look_after(database, &self.broker)? {
                self.tally.vain_starts += 1;
            }
        }
        if self.counted.elapsed() >= COUNT_EVERY {
            self.effects = self.to.effects_so_far().await.unwrap_or(self.effects);
            self.counted = Instant::now();
        }
        let handled = self.handled();
        self.load.handled(handled);
        Ok(())
    }

    async fn until(
        &mut self,
        limit: Duration,
        what: &str,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.tick().await?;
            if done(self) {
                return Ok(());
            }
            let (handled, committed) = (self.handled(), self.load.committed());
            ensure!(
                Instant::now() < deadline,
                "{}: not within {limit:?}: {what}; {handled} of {committed} messages are handled",
                self.name
            );
            sleep(POLL).await;
        }
    }

    /// One cycle. Returns what it met, as a line.
    pub(crate) async fn cycle(&mut self, event: &Event) -> Result<String> {
        let target = self.handled() + event.after;
        self.until(PASS_MAX, "more messages", |stage| stage.handled() >= target)
            .await?;
        let mut victims = event.victims.clone();
        if event.when_busy {
            victims[0] = self.busy(victims[0]).await;
        }
        let mut line = Vec::new();
        for victim in &victims {
            let in_hand = self.kill(*victim)?;
            self.tally.killed(victim.kind(), in_hand > 0);
            line.push(format!("{victim} ({in_hand} in hand)"));
        }
        self.tally.doubles += usize::from(victims.len() > 1);
        let is_server = |victim: &Victim| matches!(victim, Victim::Postgres | Victim::Broker);
        if victims.iter().any(is_server) {
            sleep(event.down).await;
        }
        for victim in &victims {
            if is_server(victim) {
                let server = self.server(*victim)?;
                block_in_place(|| server.start())?;
            }
        }
        for victim in &victims {
            if let Some(worker) = self.worker(*victim) {
                let database = if self.workers[worker].kind == Kind::Relay {
                    &self.from
                } else {
                    &self.to
                };
                self.workers[worker].again(database, &self.broker);
            }
        }
        Ok(line.join(" and "))
    }

    /// Waits for a moment until a victim of this kind has work in hand; then it is that one, else the
    /// one that was drawn.
    async fn busy(&self, drawn: Victim) -> Victim {
        let deadline = Instant::now() + BUSY_MAX;
        let all = drawn.kind().victims();
        while Instant::now() < deadline {
            let mut candidates = [drawn].into_iter().chain(all.iter().copied());
            if let Some(busy) = candidates.find(|victim| self.in_hand(*victim) > 0) {
                return busy;
            }
            tokio::task::yield_now().await;
        }
        drawn
    }

    /// Kills a victim. Returns how many messages it had in hand; of a server, all workers, and the
    /// transactions of the writers.
    fn kill(&mut self, victim: Victim) -> Result<usize> {
        if let Some(worker) = self.worker(victim) {
            return self.workers[worker].kill();
        }
        let in_hand = self.in_hand(victim);
        let server = self.server(victim)?;
        block_in_place(|| server.kill())?;
        Ok(in_hand)
    }

    fn in_hand(&self, victim: Victim) -> usize {
        if let Some(worker) = self.worker(victim) {
            return self.workers[worker].in_hand();
        }
        let workers: usize = self.workers.iter().map(Worker::in_hand).sum();
        if victim == Victim::Postgres {
            workers + self.load.open()
        } else {
            workers
        }
    }

    fn worker(&self, victim: Victim) -> Option<usize> {
        let (kind, place) = match victim {
            Victim::Relay(at) => (Kind::Relay, at),
            Victim::Inbox(at) => (Kind::Inbox, at),
            Victim::Postgres | Victim::Broker => return None,
        };
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.kind == kind && worker.at == place)
    }

    fn server(&mut self, victim: Victim) -> Result<&mut Server> {
        if victim == Victim::Postgres {
            let server = self.postgres.as_mut();
            return Ok(server.context("this flow has no Postgres")?);
        }
        Ok(self.broker.server())
    }

    /// Ends the load, waits until everything is handled, stops the workers, and gathers the evidence.
    pub(crate) async fn end(&mut self) -> Result<Evidence> {
        let started = Instant::now();
        self.load.finish().await?;
        let backlog = self.load.committed().saturating_sub(self.handled());
        let drain_max = DRAIN_BASE + Duration::from_secs(backlog / DRAIN_RATE);
        let deadline = started + drain_max;
        let mut drained = self.is_drained().await;
        while !drained && Instant::now() < deadline {
            self.tick().await?;
            sleep(POLL).await;
            drained = self.is_drained().await;
        }
        let took = started.elapsed();
        if drained {
            for worker in mem::take(&mut self.workers) {
                worker.stop().await;
            }
        }
        let known = fs::read_to_string(self.from.file(ORACLE)).context("the oracle is gone")?;
        let all = [
            self.from.stats().await,
            self.to.handler_stats(BOOK).await,
            self.to.handler_stats(NOTE).await,
        ];
        Ok(Evidence {
            known: Known::read(&known)?,
            history: self.from.history().await,
            stream: self.broker.accepted().await,
            effects: self.to.effects(BOOK).await,
            notes: log::read(&self.to.log()),
            confirmed: log::read(&self.from.log()),
            dead: all.iter().map(|stats| stats.dead).sum(),
            unsettled: all.iter().map(|stats| stats.unsettled()).sum(),
            left: all.iter().map(|stats| stats.instances.len()).sum(),
            unrouted: self.to.unrouted().await,
            backlog,
            took,
            drain_max,
            absorbs_copies: self.broker.absorbs_copies(),
        })
    }

    async fn is_drained(&mut self) -> bool {
        let Some(position) = self.to.position().await else {
            return false;
        };
        self.from.stats().await.unsettled() == 0
            && self.broker.ends_at(&position).await
            && self.to.handler_stats(BOOK).await.unsettled() == 0
            && self.to.handler_stats(NOTE).await.unsettled() == 0
    }
}
