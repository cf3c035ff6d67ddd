//! A rolling deploy under load: two versions of a program with different handlers run at once, and
//! each handler has every message between its subscription and its retirement, once and in order.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use support::{
    LONG,
    broker::Broker,
    checker::{Accepted, Committed, check},
    database::Database,
    number,
    process::{Process, stop_all},
    until,
    writers::Writers,
};

const KEYS: usize = 200;
const OLD: [&str; 4] = ["--book", "a", "--book", "b"];
const NEW: [&str; 4] = ["--book", "b", "--book", "c"];
const LAST: [&str; 2] = ["--book", "a"];

/// How many messages go through before each step of the deploy.
fn stage() -> u64 {
    number("IOBOX_E2E_MESSAGES").unwrap_or(3_000) / 6
}

/// How long a step may take.
fn limit() -> Duration {
    LONG.mul_f64((stage() as f64 / 5_000.0).max(1.0))
}

/// Starts two processes of a version, and waits until both are subscribed.
async fn deploy(
    to: &Database,
    broker: &Broker,
    version: &[&str],
    names: [&str; 2],
) -> Vec<Process> {
    let broker = broker.arguments();
    let options: Vec<&str> = broker.iter().map(String::as_str).collect();
    let options = [version, &options, &["--ttl", "3000"]].concat();
    let mut all = Vec::new();
    for name in names {
        let mut process = Process::inbox(to, name, &options);
        process.ready().await;
        all.push(process);
    }
    all
}

/// Waits until a handler has so many effects more.
async fn more(to: &Database, writers: &Writers, handler: &str, more: u64) {
    let target = to.count_effects(handler).await + more;
    until(limit(), "more effects", async || {
        writers.published(to.count_effects("b").await);
        to.count_effects(handler).await >= target
    })
    .await;
}

fn ids<'a>(all: impl IntoIterator<Item = &'a Accepted>) -> BTreeSet<String> {
    all.into_iter().map(|one| one.id.clone()).collect()
}

async fn committed(from: &Database) -> BTreeSet<String> {
    from.history().await.into_iter().map(|row| row.id).collect()
}

/// Looks whether a handler has exactly these messages, each once, those of a key in order.
async fn assert_handled(to: &Database, handler: &str, history: &[Committed], wanted: &[Accepted]) {
    let wanted = ids(wanted);
    let rows = history.iter().filter(|row| wanted.contains(&row.id));
    let rows: Vec<Committed> = rows.cloned().collect();
    let report = check(&rows, &to.effects(handler).await);
    println!("{handler}: {} of {}", rows.len(), history.len());
    report.assert_clean();
    assert_eq!(report.duplicates, 0, "{handler}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_handler_has_its_messages() {
    let started = Instant::now();
    let [from, to]: [Arc<Database>; 2] = [Database::postgres().await, Database::postgres().await];
    let broker = Broker::jetstream().await;
    from.open_accounts(KEYS).await;
    to.open_effects().await;
    let arguments = broker.arguments();
    let options: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let relay = Process::relay(&from, "relay", &options);
    let old = deploy(&to, &broker, &OLD, ["old-one", "old-two"]).await;
    let writers = Writers::start(&from, KEYS, u64::MAX, stage());
    more(&to, &writers, "b", stage()).await;

    let before_c = ids(&to.effects("b").await);
    let new = deploy(&to, &broker, &NEW, ["new-one", "new-two"]).await;
    let at_c = committed(&from).await;
    more(&to, &writers, "c", stage()).await;
    stop_all(old).await;
    // What comes now is for a handler that nobody has.
    more(&to, &writers, "b", stage()).await;
    let before_retirement = ids(&to.effects("b").await);
    assert!(to.retire("a").await);
    let at_retirement = committed(&from).await;
    more(&to, &writers, "b", stage()).await;
    let (count, rolled_back) = writers.finish().await;
    until(limit(), "an end of everything", async || {
        let position = to.position().await.expect("a position");
        from.stats().await.unsettled() == 0
            && broker.ends_at(&position).await
            && to.handler_stats("b").await.unsettled() == 0
            && to.handler_stats("c").await.unsettled() == 0
    })
    .await;
    stop_all(new).await;
    relay.stop().await;

    let left = to.handler_stats("a").await.unsettled();
    assert!(
        left > 0,
        "a message that came for a handler that nobody had"
    );
    let last = deploy(&to, &broker, &LAST, ["last-one", "last-two"]).await;
    until(limit(), "an end of the retired handler", async || {
        to.handler_stats("a").await.unsettled() == 0
    })
    .await;
    stop_all(last).await;

    let history = from.history().await;
    assert_eq!(history.len() as u64, count);
    let stream = broker.accepted().await;
    assert_eq!(stream.len(), history.len(), "no entry is a copy");
    let count = async |handler| usize::try_from(to.count_effects(handler).await).expect("a count");
    // A source is read in its order, so that a handler has a part of it without a gap.
    let (of_a, rest) = stream.split_at(count("a").await);
    let (earlier, of_c) = stream.split_at(stream.len() - count("c").await);
    println!(
        "{} messages, {rolled_back} rolled back, in {:.1?}; {left} were left to the retired handler",
        history.len(),
        started.elapsed()
    );
    assert_handled(&to, "a", &history, of_a).await;
    assert_handled(&to, "b", &history, &stream).await;
    assert_handled(&to, "c", &history, of_c).await;
    // And the parts begin and end where they have to.
    assert!(ids(earlier).is_superset(&before_c));
    assert!(ids(earlier).is_subset(&at_c));
    assert!(ids(of_a).is_superset(&before_retirement));
    assert!(ids(of_a).is_subset(&at_retirement) && !rest.is_empty());
    for handler in ["a", "b", "c"] {
        let stats = to.handler_stats(handler).await;
        assert_eq!((stats.dead, stats.instances.len()), (0, 0), "{handler}");
    }
    assert_eq!(to.unrouted().await, 0);
    from.remove().await;
    to.remove().await;
}
