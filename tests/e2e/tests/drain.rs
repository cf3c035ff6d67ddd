//! SIGTERM under load: the process ends in time, leaves nothing owned, and burns no attempt.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{sync::Arc, time::Duration};

use iobox::store::State;
use support::{LONG, database::Database, log, process::Process, until, writers::Writers};

const UNSETTLED: [State; 3] = [State::Pending, State::Retrying, State::Waiting];
const MESSAGES: u64 = 5_000;
const MAX_IN_FLIGHT: u64 = 100;
/// What the end may take beyond the grace.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_left_in_order() {
    what_is_in_flight_ends(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_left_in_order() {
    what_is_in_flight_ends(Database::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_not_wait_beyond_the_grace() {
    what_outlasts_the_grace_is_left(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_not_wait_beyond_the_grace() {
    what_outlasts_the_grace_is_left(Database::sqlite().await).await;
}

async fn filled(database: Arc<Database>) -> Arc<Database> {
    database.open_accounts(1_000).await;
    Writers::fill(&database, 1_000, MESSAGES, LONG).await;
    database
}

/// Nothing is owned, nobody is registered, and no attempt was burnt. Returns what is unsettled.
async fn assert_left(database: &Database) -> usize {
    let stats = database.stats().await;
    assert!(
        stats
            .partitions
            .iter()
            .all(|partition| partition.owner.is_none())
    );
    assert!(stats.instances.is_empty());
    let unsettled = database.list(&UNSETTLED).await;
    let burnt = unsettled.iter().filter(|entry| entry.attempt > 0).count();
    assert_eq!(burnt, 0, "of {}", unsettled.len());
    unsettled.len()
}

async fn what_is_in_flight_ends(database: Arc<Database>) {
    let grace = Duration::from_secs(5);
    let options = [
        "--batch",
        "50",
        "--max-in-flight",
        "100",
        "--ttl",
        "10000",
        "--grace",
        "5000",
        "--delay",
        "200",
    ];
    let database = filled(database).await;
    let relay = Process::relay(&database, "drained", &options);
    let mut progress = database.progress();
    until(LONG, "some messages", async || progress.count() >= 300).await;
    let before = progress.count();
    let took = relay.stop().await;
    let after = progress.count();
    println!("{took:.1?} with {} messages in flight", after - before);
    assert!(took < grace + SLACK, "{took:?}");
    // What was in flight ended; one batch may have ended before the signal came.
    assert!(after - before <= MAX_IN_FLIGHT * 2, "{}", after - before);
    let unsettled = assert_left(&database).await;
    let lines = log::read(&database.log());
    let history = database.history().await;
    assert_eq!(
        lines.len() + unsettled,
        history.len(),
        "all that was sent is settled"
    );

    // The next one goes on at once, and there is no copy.
    let relay = Process::relay(&database, "next", &["--ttl", "10000"]);
    database.drained().await;
    relay.stop().await;
    let report = database.report(&history);
    report.assert_clean();
    assert_eq!(report.duplicates, 0);
    database.remove().await;
}

async fn what_outlasts_the_grace_is_left(database: Arc<Database>) {
    let grace = Duration::from_millis(300);
    // A publish of five seconds, of which one may take eight.
    let options = [
        "--batch", "50", "--ttl", "20000", "--grace", "300", "--delay", "5000",
    ];
    let database = filled(database).await;
    let mut relay = Process::relay(&database, "cut", &options);
    relay.ready().await;
    until(LONG, "a message in flight", async || {
        let stats = database.stats().await;
        stats
            .instances
            .iter()
            .any(|instance| instance.in_flight > 0)
    })
    .await;
    let took = relay.stop().await;
    println!("{took:.1?} with a grace of {grace:?}");
    assert!(took < grace + SLACK, "{took:?}");
    let unsettled = assert_left(&database).await;
    let published = database.progress().count();
    let history = database.history().await;
    assert_eq!(unsettled as u64 + published, history.len() as u64);
    database.remove().await;
}
