//! Outages of the database and of the broker: no attempt is burnt, memory stays flat, and the relay
//! goes on by itself.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use iobox::store::State;
use iobox_testkit::servers::Postgres;
use support::{
    LONG, POLL, broker::Broker, checker::check, database::Database, log, number, process::Process,
    until, writers::Writers,
};
use tokio::task::spawn_blocking;

const KEYS: usize = 500;
const BATCH: usize = 100;
const MAX_IN_FLIGHT: usize = 200;
const OPTIONS: [&str; 6] = ["--batch", "100", "--max-in-flight", "200", "--ttl", "2000"];
/// A time-to-live of which the time for a broker's reply is a part that no busy machine exceeds.
const PATIENT: [&str; 6] = ["--batch", "100", "--max-in-flight", "200", "--ttl", "20000"];
/// How much the relay may grow, in KiB.
const GROWTH_MAX: u64 = 30 * 1024;

fn outage() -> Duration {
    Duration::from_secs(number("IOBOX_E2E_OUTAGE_SECONDS").unwrap_or(5))
}

/// Lets the outage last, and returns by how many KiB the relay grew at most.
async fn endure(relay: &Process) -> u64 {
    let (before, end) = (relay.resident(), Instant::now() + outage());
    let mut most = before;
    while Instant::now() < end {
        most = most.max(relay.resident());
        tokio::time::sleep(POLL).await;
    }
    most - before
}

/// How much progress there is once nothing is added to it for a while.
async fn quiet(progress: &mut log::Progress) -> u64 {
    let (mut last, mut since) = (progress.count(), Instant::now());
    while since.elapsed() < POLL * 10 {
        tokio::time::sleep(POLL).await;
        let count = progress.count();
        if count != last {
            (last, since) = (count, Instant::now());
        }
    }
    last
}

/// Every message went through at its first attempt.
async fn assert_unharmed(database: &Database, copies_max: usize) -> usize {
    let entries = database.list(&[]).await;
    let history = database.history().await;
    assert_eq!(entries.len(), history.len());
    let harmed = |entry: &&iobox::store::Entry| entry.state != State::Done || entry.attempt != 1;
    let harmed: Vec<_> = entries.iter().filter(harmed).collect();
    assert!(
        harmed.is_empty(),
        "{} such as {:?}",
        harmed.len(),
        harmed.first()
    );
    let report = database.report(&history);
    report.assert_clean();
    assert!(
        report.duplicates <= copies_max,
        "{} of {copies_max}",
        report.duplicates
    );
    println!(
        "{} messages, {} duplicates",
        history.len(),
        report.duplicates
    );
    report.duplicates
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_database() {
    let server = spawn_blocking(Postgres::private).await.expect("no panic");
    let mut server = server.expect("a server of its own");
    let database = Database::at(server.url().to_owned(), None).await;
    database.open_accounts(KEYS).await;
    // A backlog first, so that there is work in every moment.
    let writers = Writers::start(&database, KEYS, u64::MAX, 5_000);
    until(LONG, "a backlog", async || writers.committed() >= 4_000).await;
    let options = [&OPTIONS[..], &["--delay", "100"]].concat();
    let relay = Process::relay(&database, "run", &options);
    let mut progress = database.progress();
    writers.wait_for(500, &mut progress).await;

    server.kill().expect("a kill");
    let grown = endure(&relay).await;
    server.start().expect("a start");
    let back = Instant::now();
    writers.wait_for(1, &mut progress).await;
    let first = back.elapsed();
    writers.wait_for(2_000, &mut progress).await;
    let caught_up = back.elapsed();

    let (committed, _) = writers.finish().await;
    database.drained().await;
    relay.stop().await;
    println!(
        "grown by {grown} KiB; a message {first:.1?} after the start, 2,000 more {caught_up:.1?}; \
         {committed} committed"
    );
    assert!(grown < GROWTH_MAX, "{grown} KiB");
    // What was sent and could not be settled is sent again.
    assert_unharmed(&database, MAX_IN_FLIGHT + BATCH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_broker_on_postgres() {
    of_the_broker(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_broker_on_sqlite() {
    of_the_broker(Database::sqlite().await).await;
}

async fn of_the_broker(database: Arc<Database>) {
    database.open_accounts(KEYS).await;
    let flag = database.file("unavailable");
    let flag_option = flag.display().to_string();
    let options = [
        &OPTIONS[..],
        &["--delay", "5", "--unavailable-while", &flag_option],
    ]
    .concat();
    let relay = Process::relay(&database, "run", &options);
    let mut progress = database.progress();
    let writers = Writers::start(&database, KEYS, u64::MAX, 10_000);
    writers.wait_for(2_000, &mut progress).await;

    fs::write(&flag, "").expect("a flag");
    let before = progress.count();
    let grown = endure(&relay).await;
    let during = progress.count() - before;
    fs::remove_file(&flag).expect("a flag");
    let back = Instant::now();
    writers.wait_for(2_000, &mut progress).await;
    let caught_up = back.elapsed();

    writers.finish().await;
    database.drained().await;
    relay.stop().await;
    println!("grown by {grown} KiB; 2,000 messages {caught_up:.1?} after the outage");
    assert!(grown < GROWTH_MAX, "{grown} KiB");
    assert!(during <= BATCH as u64, "{during} messages went through");
    assert_unharmed(&database, 0).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_jetstream() {
    of_a_server(Database::postgres().await, Broker::jetstream().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_redis() {
    of_a_server(Database::sqlite().await, Broker::redis().await).await;
}

async fn of_a_server(database: Arc<Database>, mut broker: Broker) {
    database.open_accounts(KEYS).await;
    let arguments = broker.arguments();
    let options: Vec<&str> = PATIENT
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let relay = Process::relay(&database, "run", &options);
    let mut progress = database.progress();
    let writers = Writers::start(&database, KEYS, u64::MAX, 5_000);
    writers.wait_for(2_000, &mut progress).await;

    broker.server().stop().expect("a stop");
    // What was confirmed before the stop may still be on its way to the log.
    let before = quiet(&mut progress).await;
    let grown = endure(&relay).await;
    let backlog = database.stats().await.unsettled();
    assert_eq!(progress.count(), before, "nobody confirms");
    assert!(backlog > BATCH as u64, "{backlog}");
    broker.server().start().expect("a start");
    let back = Instant::now();
    writers.wait_for(2_000, &mut progress).await;
    let caught_up = back.elapsed();

    writers.finish().await;
    database.drained().await;
    relay.stop().await;
    println!(
        "grown by {grown} KiB; backlog {backlog}; 2,000 messages {caught_up:.1?} after the start"
    );
    assert!(grown < GROWTH_MAX, "{grown} KiB");

    // No attempt is burnt. What the stop met in flight has an unknown outcome, which does not count,
    // since the broker answered nothing that was sent later.
    let entries = database.list(&[]).await;
    assert!(entries.iter().all(|entry| entry.state == State::Done));
    let counted: Vec<_> = entries.iter().filter(|entry| entry.attempt != 1).collect();
    let copies = log::read(&database.log());
    let absorbed = copies.iter().filter(|line| line.is_duplicate()).count();
    let history = database.history().await;
    let report = check(&history, &broker.accepted().await);
    println!(
        "{} messages, {} counted twice, {} duplicates, {absorbed} acks as duplicate",
        history.len(),
        counted.len(),
        report.duplicates
    );
    assert!(counted.is_empty(), "{:?}", counted.first());
    report.assert_clean();
    let copies = report.duplicates + absorbed;
    assert!(copies <= MAX_IN_FLIGHT, "{copies} of {MAX_IN_FLIGHT}");
    if broker.absorbs_copies() {
        assert_eq!(report.duplicates, 0, "within the duplicate window");
    }
    database.remove().await;
}
