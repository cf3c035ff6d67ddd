//! A message whose publish kills the process ends as a dead letter, and takes nobody along.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::sync::Arc;

use iobox::store::State;
use support::{
    LONG, checker::Committed, database::Database, process::Process, until, writers::Plan,
};

const MAX_CRASHES: usize = 3;
/// One kills before anybody suspects it, one while it is marked among others; the rest count.
const CRASHES_MAX: usize = MAX_CRASHES + 2;
const BATCH: usize = 20;
const MAX_IN_FLIGHT: usize = 40;
/// The second message of its key.
const KILLER: &str = "m-k3-2";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_buries_it() {
    bury(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_buries_it() {
    bury(Database::sqlite().await).await;
}

async fn bury(database: Arc<Database>) {
    database.open_accounts(10).await;
    let plan = Plan {
        keys: (0..10).map(|at| (format!("k{at}"), 10)).collect(),
        keyless: 60,
        id: Some("m-".to_owned()),
        rolls_back: false,
    };
    database.write(plan).await.expect("a commit");

    let options = [
        "--batch",
        "20",
        "--max-in-flight",
        "40",
        "--ttl",
        "1000",
        "--max-crashes",
        "3",
        "--killer",
        KILLER,
    ];
    let mut crashes = 0;
    let mut relay = Process::relay(&database, "run-0", &options);
    until(LONG, "a dead letter, and nothing else to do", async || {
        if let Some(status) = relay.ended() {
            assert!(!status.success());
            crashes += 1;
            assert!(crashes <= CRASHES_MAX, "{crashes} crashes");
            relay = Process::relay(&database, &format!("run-{crashes}"), &options);
        }
        let stats = database.stats().await;
        stats.dead == 1 && stats.pending + stats.retrying == 0
    })
    .await;
    relay.stop().await;

    let killer = database.get(KILLER).await;
    println!("{crashes} crashes; {:?}", killer.reason);
    assert_eq!((killer.state, killer.halts), (State::Dead, true));
    assert!(crashes >= MAX_CRASHES, "only crashes count");
    assert!(killer.body.is_some(), "its payload is kept");

    // Those behind it in its key wait for a person; all others went through.
    let is_halted = |row: &Committed| row.key.as_deref() == Some("k3") && row.position >= 2;
    let (halted, expected): (Vec<_>, Vec<_>) =
        database.history().await.into_iter().partition(is_halted);
    assert_eq!((halted.len(), expected.len()), (9, 151));
    for row in halted.iter().filter(|row| row.id != KILLER) {
        assert_eq!(
            database.get(&row.id).await.state,
            State::Waiting,
            "{}",
            row.id
        );
    }
    let report = database.report(&expected);
    report.assert_clean();
    let bound = crashes * (MAX_IN_FLIGHT + BATCH);
    assert!(
        report.duplicates <= bound,
        "{} of {bound}",
        report.duplicates
    );
    database.remove().await;
}
