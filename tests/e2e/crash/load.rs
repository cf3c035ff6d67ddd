//! The load: transactions of a business until they are told to stop, each known to the oracle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use fastrand::Rng;
use tokio::{
    task::{JoinSet, block_in_place},
    time::sleep,
};

use crate::{
    oracle::{End, Oracle},
    support::{database::Database, writers::Plan},
};

/// How many writers a flow has.
const WRITERS: u64 = 4;
/// How many keys.
pub(crate) const KEYS: usize = 300;
/// How many committed messages may not be handled yet.
const AHEAD: u64 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: JoinSet<Result<()>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    committed: AtomicU64,
    handled: AtomicU64,
    open: AtomicUsize,
}

impl Load {
    pub(crate) fn start(database: &Arc<Database>, oracle: Oracle, seed: u64) -> Self {
        let (state, oracle) = (Arc::new(State::default()), Arc::new(oracle));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (database, oracle) = (Arc::clone(database), Arc::clone(&oracle));
            let state = Arc::clone(&state);
            let random = Rng::with_seed(seed ^ writer << 32);
            tasks.spawn(async move { write(&database, &oracle, &state, writer, random).await });
        }
        Self { tasks, state }
    }

    /// Says how many messages are handled, so that the writers may go on.
    pub(crate) fn handled(&self, count: u64) {
        self.state.handled.store(count, Ordering::Relaxed);
    }

    /// How many messages are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.state.committed.load(Ordering::Relaxed)
    }

    /// How many transactions are open.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Stops them, and waits for the last transactions.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        self.state.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn write(
    database: &Database,
    oracle: &Oracle,
    state: &State,
    writer: u64,
    mut random: Rng,
) -> Result<()> {
    let mut turn = 0_u64;
    while !state.stop.load(Ordering::Relaxed) {
        let handled = state.handled.load(Ordering::Relaxed);
        if state.committed.load(Ordering::Relaxed) > handled.saturating_add(AHEAD) {
            sleep(PAUSE).await;
            continue;
        }
        let prefix = format!("w{writer}-{turn}-");
        turn += 1;
        let mut plan = Plan::draw(KEYS, &mut random);
        plan.id = Some(prefix.clone());
        let rolls_back = plan.rolls_back;
        state.open.fetch_add(1, Ordering::Relaxed);
        let written = database.write(plan).await;
        state.open.fetch_sub(1, Ordering::Relaxed);
        let end = match written {
            Ok(_) if rolls_back => End::RolledBack,
            Ok(rows) => End::Committed(rows),
            Err(_) => End::Unknown,
        };
        block_in_place(|| oracle.write(&prefix, &end))?;
        match end {
            End::Committed(rows) => {
                let count = rows.len() as u64;
                state.committed.fetch_add(count, Ordering::Relaxed);
            }
            End::RolledBack => {}
            End::Unknown => sleep(PAUSE).await,
        }
    }
    Ok(())
}
