//! Many messages on many keys through three relay processes, one of them killed in mid-flight.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use support::{
    LONG,
    database::Database,
    number,
    process::{Process, stop_all},
    until,
    writers::Writers,
};
use tokio::sync::Mutex;

const KEYS: usize = 1_000;
const BATCH: usize = 500;
const MAX_IN_FLIGHT: usize = 500;
const OPTIONS: [&str; 6] = ["--batch", "500", "--max-in-flight", "500", "--ttl", "3000"];

/// How long that many may take.
fn limit() -> Duration {
    LONG.mul_f64((messages() as f64 / 20_000.0).max(1.0))
}

/// One at a time: each wants the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

fn messages() -> u64 {
    let default = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    number("IOBOX_E2E_MESSAGES").unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_loses_and_reorders_nothing() {
    let _alone = ALONE.lock().await;
    through(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_loses_and_reorders_nothing() {
    let _alone = ALONE.lock().await;
    through(Database::sqlite().await).await;
}

async fn through(database: Arc<Database>) {
    let started = Instant::now();
    database.open_accounts(KEYS).await;
    let mut relays = vec![
        Process::relay(&database, "one", &OPTIONS),
        Process::relay(&database, "two", &OPTIONS),
    ];
    // The victim stops reporting after a while, so that it dies with a publish that is sent and not
    // settled.
    let hold_after = (messages() / 20).to_string();
    let mut victim = Process::relay(
        &database,
        "victim",
        &[&OPTIONS[..], &["--hold-after", &hold_after]].concat(),
    );
    victim.ready().await;
    let writers = Writers::start(&database, KEYS, messages(), u64::MAX);
    let sent: usize = victim.line("SENT").await.parse().expect("a number");
    assert!(sent > 0);
    let written_at_kill = writers.committed();
    victim.kill();
    relays.push(Process::relay(&database, "heir", &OPTIONS));

    until(limit(), "all transactions", async || writers.are_done()).await;
    let (committed, rolled_back) = writers.finish().await;
    let written = started.elapsed();
    database.drained().await;
    let drained = started.elapsed();
    stop_all(relays).await;

    let history = database.history().await;
    assert_eq!(history.len() as u64, committed);
    assert!(committed >= messages() && rolled_back * 30 > committed);
    let report = database.report(&history);
    println!(
        "{committed} messages, {rolled_back} rolled back, killed after {written_at_kill} with {sent} \
         sent, written after {written:.1?}, drained after {drained:.1?}, {} duplicates",
        report.duplicates
    );
    report.assert_clean();
    // What was sent is sent again, and at most what one process may have under way.
    assert!(report.duplicates >= sent, "{} of {sent}", report.duplicates);
    assert!(
        report.duplicates <= MAX_IN_FLIGHT + BATCH,
        "{}",
        report.duplicates
    );
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_with_settle_before_ack_is_caught() {
    let _alone = ALONE.lock().await;
    caught(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_settle_before_ack_is_caught() {
    let _alone = ALONE.lock().await;
    caught(Database::sqlite().await).await;
}

/// The same checker with a publisher that reports before the broker has the messages, so that they
/// are settled too early. It is killed in between.
async fn caught(database: Arc<Database>) {
    const LATE: [&str; 8] = [
        "--batch",
        "100",
        "--max-in-flight",
        "100",
        "--ttl",
        "10000",
        "--report-before-append",
        "3900",
    ];
    let started = Instant::now();
    database.open_accounts(KEYS).await;
    Writers::fill(&database, KEYS, messages(), limit()).await;
    let history = database.history().await;
    let mut liar = Process::relay(&database, "liar", &LATE);
    let early: usize = liar.line("REPORTED").await.parse().expect("a number");
    assert!(early > 0);
    until(LONG, "a settled message", async || {
        database.stats().await.unsettled() < history.len() as u64
    })
    .await;
    liar.kill();
    let honest = Process::relay(&database, "honest", &OPTIONS);
    database.drained().await;
    honest.stop().await;
    let report = database.report(&history);
    println!(
        "settle before ack: {} of {} messages lost, {} duplicates, after {:.1?}",
        report.lost.len(),
        history.len(),
        report.duplicates,
        started.elapsed()
    );
    assert!(!report.lost.is_empty());
    assert!(report.phantom.is_empty());
    database.remove().await;
}
