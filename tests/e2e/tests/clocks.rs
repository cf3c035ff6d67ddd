//! Time that jumps: a relay that is halted for three leases, and a database whose clock goes wrong by an hour.

#![allow(
    clippy::disallowed_methods,
    reason = "halts and processes live on the machine's clock"
)]

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use iobox::store::State;
use nix::sys::signal::Signal;
use support::{
    LONG,
    database::Database,
    log,
    process::{Process, stop_all},
    until,
    writers::Writers,
};

const KEYS: usize = 200;
const BATCH: usize = 50;
const MAX_IN_FLIGHT: usize = 100;
const LEASE: Duration = Duration::from_secs(1);
/// Each publish takes a while, so that a halt meets some.
const OPTIONS: [&str; 8] = [
    "--batch",
    "50",
    "--max-in-flight",
    "100",
    "--ttl",
    "1000",
    "--delay",
    "20",
];
/// How far the writers may be ahead of the relays.
const AHEAD: u64 = 2_000;

/// Everything is done, at its first attempt, in order, with no more copies than these.
async fn assert_whole(database: &Database, copies_max: usize) {
    let entries = database.list(&[]).await;
    let harmed = entries
        .iter()
        .find(|entry| entry.state != State::Done || entry.attempt != 1);
    assert!(harmed.is_none(), "{harmed:?}");
    let report = database.report(&database.history().await);
    println!("{} messages, {} copies", entries.len(), report.duplicates);
    report.assert_clean();
    let copies = report.duplicates;
    assert!(copies <= copies_max, "{copies} copies of {copies_max}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_relay_has_nothing_to_say_about_its_old_lease() {
    let database = Database::postgres().await;
    database.open_accounts(KEYS).await;
    let mut progress = database.progress();
    let mut sleeper = Process::relay(&database, "sleeper", &OPTIONS);
    sleeper.ready().await;
    let writers = Writers::start(&database, KEYS, u64::MAX, AHEAD);
    writers.wait_for(300, &mut progress).await;
    let mut heir = Process::relay(&database, "heir", &OPTIONS);
    heir.ready().await;
    writers.wait_for(300, &mut progress).await;

    sleeper.signal(Signal::SIGSTOP);
    let back = Instant::now() + LEASE * 3;
    let before = progress.count();
    until(LONG, "three leases", async || {
        writers.published(progress.count());
        Instant::now() >= back
    })
    .await;
    writers.wait_for(500, &mut progress).await;
    let known: BTreeSet<String> = log::read(&database.log())
        .into_iter()
        .map(|line| line.id)
        .collect();
    sleeper.signal(Signal::SIGCONT);
    let meanwhile = progress.count() - before;
    writers.wait_for(500, &mut progress).await;
    writers.finish().await;
    database.drained().await;
    assert!(sleeper.ended().is_none(), "the halted one goes on");
    stop_all([sleeper, heir]).await;

    // What it sent of messages that its heir had sent is what was on its way when it was halted.
    let mut seen = BTreeSet::new();
    let lines = log::read(&database.log());
    let late = lines
        .iter()
        .filter(|line| !seen.insert(&line.id) && line.run == "sleeper" && known.contains(&line.id));
    let late = late.count();
    println!("{meanwhile} messages during the halt, {late} sent late");
    assert!(late <= MAX_IN_FLIGHT, "{late} sent late");
    // Nothing of its old lease was recorded: each message is done once, at its first attempt.
    assert_whole(&database, MAX_IN_FLIGHT + BATCH).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_database_jumps_by_an_hour() {
    let database = Database::postgres().await;
    database.open_accounts(KEYS).await;
    let mut progress = database.progress();
    let mut relays: Vec<Process> = (0..2)
        .map(|at| Process::relay(&database, &format!("relay-{at}"), &OPTIONS))
        .collect();
    for relay in &mut relays {
        relay.ready().await;
    }
    let writers = Writers::start(&database, KEYS, u64::MAX, AHEAD);
    writers.wait_for(300, &mut progress).await;
    let jumps = ["1 hour", "0 hours", "-1 hour", "0 hours"];
    for jump in jumps {
        database.shift_clock(jump).await;
        let jumped = Instant::now();
        writers.wait_for(500, &mut progress).await;
        println!("{jump}: 500 messages in {:.1?}", jumped.elapsed());
    }
    writers.finish().await;
    database.drained().await;
    stop_all(relays).await;
    // Each jump may end the leases of both.
    let copies_max = jumps.len() * 2 * (MAX_IN_FLIGHT + BATCH);
    assert_whole(&database, copies_max).await;
    database.remove().await;
}
