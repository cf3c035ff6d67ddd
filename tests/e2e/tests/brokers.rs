//! Many messages on many keys through real brokers: a relay is killed in mid-flight, then the broker.

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
    broker::Broker,
    checker::check,
    database::Database,
    log, number,
    process::{Process, stop_all},
    until,
    writers::Writers,
};
use tokio::sync::Mutex;

const KEYS: usize = 1_000;
const BATCH: usize = 600;
const MAX_IN_FLIGHT: usize = 300;
const OPTIONS: [&str; 6] = ["--batch", "600", "--max-in-flight", "300", "--ttl", "5000"];

/// The victim's kill and the broker's.
///
/// A killed broker is a kill like any other: it leaves unknown what all three relays have in
/// flight. They live, so that they lose no settle, and `3 * MAX_IN_FLIGHT` is not more than
/// `MAX_IN_FLIGHT + BATCH`.
const KILLS: usize = 2;
const _: () = assert!(3 * MAX_IN_FLIGHT <= MAX_IN_FLIGHT + BATCH);

/// One at a time: each wants the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

fn messages() -> u64 {
    number("IOBOX_E2E_MESSAGES").unwrap_or(6_000)
}

/// How long that many may take.
fn limit() -> Duration {
    LONG.mul_f64((messages() as f64 / 20_000.0).max(1.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_jetstream_loses_and_reorders_nothing() {
    let _alone = ALONE.lock().await;
    through(Database::postgres().await, Broker::jetstream().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_redis_loses_and_reorders_nothing() {
    let _alone = ALONE.lock().await;
    through(Database::sqlite().await, Broker::redis().await).await;
}

async fn through(database: Arc<Database>, mut broker: Broker) {
    let started = Instant::now();
    database.open_accounts(KEYS).await;
    let arguments = broker.arguments();
    let options: Vec<&str> = OPTIONS
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let mut relays = vec![
        Process::relay(&database, "one", &options),
        Process::relay(&database, "two", &options),
    ];
    // The victim stops reporting after a while, so that it dies with publishes that the broker has
    // confirmed and nobody has settled.
    let hold_after = (messages() / 20).to_string();
    let hold = ["--hold-after", &hold_after];
    let mut victim = Process::relay(&database, "victim", &[&options[..], &hold].concat());
    victim.ready().await;
    let writers = Writers::start(&database, KEYS, messages(), u64::MAX);
    let sent: usize = victim.line("SENT").await.parse().expect("a number");
    assert!(sent > 0);
    victim.kill();
    relays.push(Process::relay(&database, "heir", &options));

    let mut progress = database.progress();
    until(limit(), "a third of all messages", async || {
        progress.count() >= messages() / 3
    })
    .await;
    broker.server().kill().expect("a kill");
    let published_at_kill = progress.count();
    assert!(published_at_kill < messages(), "under load");
    broker.server().start().expect("a start");

    until(limit(), "all transactions", async || writers.are_done()).await;
    let (committed, rolled_back) = writers.finish().await;
    let written = started.elapsed();
    until(limit(), "an empty backlog", async || {
        database.stats().await.unsettled() == 0
    })
    .await;
    let drained = started.elapsed();
    stop_all(relays).await;

    let history = database.history().await;
    assert_eq!(history.len() as u64, committed);
    assert!(committed >= messages() && rolled_back * 30 > committed);
    let report = check(&history, &broker.accepted().await);
    let confirmed = log::read(&database.log());
    let absorbed = confirmed.iter().filter(|line| line.is_duplicate()).count();
    println!(
        "{committed} messages, {rolled_back} rolled back, relay killed with {sent} sent, broker \
         killed after {published_at_kill}, written after {written:.1?}, drained after \
         {drained:.1?}; {} second entries, {absorbed} acks as duplicate",
        report.duplicates,
    );
    report.assert_clean();
    if broker.absorbs_copies() {
        assert_eq!(report.duplicates, 0, "within the duplicate window");
    } else {
        assert_eq!(absorbed, 0, "nobody looks");
    }
    // What was sent is sent again, and at most what a kill leaves under way.
    let copies = report.duplicates + absorbed;
    let bound = KILLS * (MAX_IN_FLIGHT + BATCH);
    assert!(copies >= sent, "{copies} of {sent}");
    assert!(copies <= bound, "{copies} of {bound}");
    database.remove().await;
}
