//! Ten kills and one long halt at random moments under load: nothing is lost, nothing reordered.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use nix::sys::signal::Signal;
use support::{
    LONG,
    database::Database,
    process::{Process, stop_all},
    until,
    writers::Writers,
};

const KEYS: usize = 200;
const KILLS: usize = 10;
const BATCH: usize = 50;
const MAX_IN_FLIGHT: usize = 100;
const LEASE: Duration = Duration::from_secs(2);
/// Each publish takes a while, so that a kill meets some.
const OPTIONS: [&str; 10] = [
    "--batch",
    "50",
    "--max-in-flight",
    "100",
    "--ttl",
    "2000",
    "--delay",
    "10",
    "--grace",
    "5000",
];
/// How far the writers may be ahead of the relays.
const AHEAD: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_survives_them() {
    survive(Database::postgres().await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_survives_them() {
    survive(Database::sqlite().await, 2).await;
}

async fn survive(database: Arc<Database>, seed: u64) {
    let started = Instant::now();
    database.open_accounts(KEYS).await;
    let mut random = Rng::with_seed(seed);
    let mut progress = database.progress();
    let mut relays: Vec<Process> = (0..3)
        .map(|at| Process::relay(&database, &format!("first-{at}"), &OPTIONS))
        .collect();
    let writers = Writers::start(&database, KEYS, u64::MAX, AHEAD);
    // A moment is a number of messages that go through before it.
    for kill in 0..KILLS {
        writers.wait_for(random.u64(20..800), &mut progress).await;
        let victim = random.usize(..relays.len());
        relays.swap_remove(victim).kill();
        relays.push(Process::relay(&database, &format!("heir-{kill}"), &OPTIONS));
    }
    let killed = started.elapsed();

    // A halted process wakes up with messages in hand that others have published since.
    for relay in &mut relays {
        relay.ready().await;
    }
    writers.wait_for(200, &mut progress).await;
    relays[0].signal(Signal::SIGSTOP);
    let before = progress.count();
    let back = Instant::now() + LEASE * 3;
    // In SQLite it may have been halted with the write lock in hand; then nobody goes on meanwhile.
    until(LONG, "three leases", async || {
        writers.published(progress.count());
        Instant::now() >= back
    })
    .await;
    let meanwhile = progress.count() - before;
    relays[0].signal(Signal::SIGCONT);
    writers.wait_for(1_000, &mut progress).await;

    let (committed, rolled_back) = writers.finish().await;
    database.drained().await;
    assert!(relays[0].ended().is_none(), "the halted one goes on");
    stop_all(relays).await;

    let history = database.history().await;
    assert_eq!(history.len() as u64, committed);
    let report = database.report(&history);
    println!(
        "{committed} messages, {rolled_back} rolled back, {KILLS} kills in {killed:.1?}, \
         {meanwhile} published during the halt, all in {:.1?}, {} duplicates",
        started.elapsed(),
        report.duplicates
    );
    report.assert_clean();
    // The halt is an ambiguous event like a kill.
    let bound = (KILLS + 1) * (MAX_IN_FLIGHT + BATCH);
    assert!(
        report.duplicates <= bound,
        "{} of {bound}",
        report.duplicates
    );
    database.remove().await;
}
