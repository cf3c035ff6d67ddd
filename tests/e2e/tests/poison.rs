//! A message that breaks the connection each time it is sent: it ends up alone, each time is counted,
//! and all others go through meanwhile.
//!
//! Nobody knows whether the broker took it, so that it is not dead by its attempts, however many
//! they are: it goes on at the longest backoff until a person discards it, and then its key goes on.

#![allow(
    clippy::disallowed_methods,
    reason = "processes live on the machine's clock"
)]

mod support;

use std::sync::Arc;

use iobox::store::{Entry, State};
use support::{
    LONG,
    broker::Broker,
    checker::{Committed, check},
    cutter::Cutter,
    database::Database,
    process::Process,
    until,
    writers::Plan,
};

const OPTIONS: [&str; 8] = [
    "--batch",
    "20",
    "--max-in-flight",
    "40",
    "--ttl",
    "5000",
    "--retry-base",
    "20",
];
const MAX_IN_FLIGHT: usize = 40;
const KEYS: usize = 20;
/// The second message of its key.
const POISON: &str = "m-k3-2";
/// As many as the relay's policy has; a message that fails is dead after them.
const ATTEMPTS_MAX: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_is_spared() {
    isolate(Database::postgres().await, Broker::jetstream().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_spared() {
    isolate(Database::sqlite().await, Broker::redis().await).await;
}

fn plan(id: &str) -> Plan {
    Plan {
        keys: (0..KEYS).map(|at| (format!("k{at}"), 5)).collect(),
        keyless: 50,
        id: Some(id.to_owned()),
        rolls_back: false,
    }
}

fn is_halted(row: &Committed) -> bool {
    row.key.as_deref() == Some("k3") && row.position >= 2
}

async fn isolate(database: Arc<Database>, broker: Broker) {
    database.open_accounts(KEYS).await;
    let cutter = Cutter::to(broker.address(), POISON).await;
    database.write(plan("m-")).await.expect("a commit");
    let arguments = broker.arguments_at(cutter.address());
    let options: Vec<&str> = OPTIONS
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let relay = Process::relay(&database, "run", &options);
    others_are_done(&database).await;

    // It has its turn again and again, and it alone is counted.
    until(LONG, "more attempts than a failure has", async || {
        database.get(POISON).await.attempt > ATTEMPTS_MAX
    })
    .await;
    let at_first = cutter.cuts();
    // Others go through meanwhile, at their first attempt.
    database.write(plan("n-")).await.expect("a commit");
    others_are_done(&database).await;
    until(LONG, "one more cut", async || cutter.cuts() > at_first).await;

    let poison = database.get(POISON).await;
    println!("{} cuts; {:?}", cutter.cuts(), poison.reason);
    assert!(matches!(poison.state, State::Retrying | State::Pending));
    assert!(poison.uncertain, "nobody knows");
    let entries = database.list(&[]).await;
    let others = || entries.iter().filter(|entry| entry.id != POISON);
    // Before it was known, the first cuts took along what was in flight beside it.
    let counted = |entry: &&Entry| entry.state == State::Done && entry.attempt != 1;
    let counted: Vec<_> = others().filter(counted).collect();
    assert!(counted.len() <= MAX_IN_FLIGHT, "{}", counted.len());
    let most = counted.iter().map(|entry| entry.attempt).max();
    assert!(most.is_none_or(|most| most <= 2), "{most:?}");
    assert!(
        others().all(|entry| !entry.id.starts_with("n-") || entry.attempt <= 1),
        "a message that came later is not touched"
    );
    let later = others().filter(|entry| entry.id.starts_with("n-") && entry.uncertain);
    assert_eq!(later.count(), 0, "it runs alone");

    // A person acts.
    database.discard(POISON).await;
    database.drained().await;
    relay.stop().await;
    let mut expected = database.history().await;
    expected.retain(|row| row.id != POISON);
    let report = check(&expected, &broker.accepted().await);
    report.assert_clean();
    println!(
        "{} messages, {} duplicates",
        expected.len(),
        report.duplicates
    );
    database.remove().await;
}

/// Waits until all are published but those that wait behind the poison in its key.
async fn others_are_done(database: &Database) {
    let halted = database.history().await.into_iter().filter(is_halted);
    let halted = halted.count() as u64;
    until(LONG, "all others", async || {
        database.stats().await.unsettled() == halted
    })
    .await;
}
