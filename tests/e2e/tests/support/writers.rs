//! Writers: transactions of a business under way, some of them rolled back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::{LONG, database::Database, log, until};

/// One transaction in this many is rolled back.
const ROLLBACKS: u32 = 10;

/// The most keys of a transaction.
const KEYS_MAX: usize = 8;

/// The most messages that a transaction writes for one key.
const MESSAGES_MAX: i64 = 3;

/// What one transaction writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Its keys, sorted so that no two transactions wait for each other, and how many messages each
    /// gets.
    pub(crate) keys: Vec<(String, i64)>,
    /// How many messages without a key.
    pub(crate) keyless: i64,
    /// What the ids start with; without it they are drawn.
    pub(crate) id: Option<String>,
    pub(crate) rolls_back: bool,
}

impl Plan {
    /// A plan for some of `accounts` accounts.
    pub(crate) fn draw(accounts: usize, random: &mut Rng) -> Self {
        let mut keys: Vec<(String, i64)> = (0..random.usize(1..=KEYS_MAX))
            .map(|_| {
                (
                    format!("k{}", random.usize(..accounts)),
                    random.i64(1..=MESSAGES_MAX),
                )
            })
            .collect();
        keys.sort();
        keys.dedup_by(|a, b| a.0 == b.0);
        Self {
            keys,
            keyless: 0,
            id: None,
            rolls_back: random.u32(..ROLLBACKS) == 0,
        }
    }

    fn size(&self) -> i64 {
        self.keys.iter().map(|(_, count)| count).sum::<i64>() + self.keyless
    }
}

/// Eight writers, stopped by [`finish`](Self::finish) or when they have written enough.
#[derive(Debug)]
pub(crate) struct Writers {
    tasks: JoinSet<()>,
    state: Arc<Progress>,
}

#[derive(Debug)]
struct Progress {
    stop: AtomicBool,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    published: AtomicU64,
    enough: u64,
    ahead: u64,
}

impl Writers {
    pub(crate) const COUNT: u64 = 8;

    /// Starts them. They write until `enough` messages are committed, and never more than `ahead`
    /// of what [`published`](Self::published) was told.
    pub(crate) fn start(
        database: &Arc<Database>,
        accounts: usize,
        enough: u64,
        ahead: u64,
    ) -> Self {
        let state = Arc::new(Progress {
            stop: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            rolled_back: AtomicU64::new(0),
            published: AtomicU64::new(0),
            enough,
            ahead,
        });
        let mut tasks = JoinSet::new();
        for seed in 0..Self::COUNT {
            let (database, state) = (Arc::clone(database), Arc::clone(&state));
            tasks.spawn(async move { write(&database, accounts, &state, seed).await });
        }
        Self { tasks, state }
    }

    /// Writes until `enough` messages are committed and nobody writes any more.
    pub(crate) async fn fill(
        database: &Arc<Database>,
        accounts: usize,
        enough: u64,
        limit: Duration,
    ) {
        let writers = Self::start(database, accounts, enough, u64::MAX);
        until(limit, "all transactions", async || writers.are_done()).await;
        writers.finish().await;
    }

    /// Waits until the relays have published so many messages more, and lets the writers go on.
    pub(crate) async fn wait_for(&self, more: u64, log: &mut log::Progress) {
        let target = log.count() + more;
        until(LONG, "more messages", async || {
            let count = log.count();
            self.published(count);
            count >= target
        })
        .await;
    }

    /// Says how many messages the relays have published, so that the writers may go on.
    pub(crate) fn published(&self, count: u64) {
        self.state.published.store(count, Ordering::Relaxed);
    }

    /// How many messages are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.state.committed.load(Ordering::Relaxed)
    }

    /// How many messages were rolled back.
    pub(crate) fn rolled_back(&self) -> u64 {
        self.state.rolled_back.load(Ordering::Relaxed)
    }

    pub(crate) fn are_done(&self) -> bool {
        self.committed() >= self.state.enough
    }

    /// Stops them and waits for the last transaction. Returns how many messages they committed and
    /// rolled back.
    pub(crate) async fn finish(mut self) -> (u64, u64) {
        self.state.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        (self.committed(), self.rolled_back())
    }
}

async fn write(database: &Database, accounts: usize, state: &Progress, seed: u64) {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut random = Rng::with_seed(seed);
    while !state.stop.load(Ordering::Relaxed) {
        let committed = state.committed.load(Ordering::Relaxed);
        if committed >= state.enough {
            break;
        }
        if committed
            > state
                .published
                .load(Ordering::Relaxed)
                .saturating_add(state.ahead)
        {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let plan = Plan::draw(accounts, &mut random);
        let (size, rolls_back) = (plan.size().unsigned_abs(), plan.rolls_back);
        // What was not committed, or may have been, is not counted; the tables know.
        match database.write(plan).await {
            Err(_) => tokio::time::sleep(PAUSE).await,
            Ok(_) if rolls_back => {
                state.rolled_back.fetch_add(size, Ordering::Relaxed);
            }
            Ok(_) => {
                state.committed.fetch_add(size, Ordering::Relaxed);
            }
        }
    }
}
