//! A slow key and rejected messages hold up nobody else.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::sync::Arc;

use iobox::store::State;
use support::{
    LONG, checker::Committed, database::Database, log, process::Process, until, writers::Plan,
};

const REJECTED: [&str; 2] = ["m-k2-1", "m-keyless-7"];

#[tokio::test(flavor = "multi_thread")]
async fn they_go_on_on_postgres() {
    they_go_on(Database::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_go_on_on_sqlite() {
    they_go_on(Database::sqlite().await).await;
}

async fn they_go_on(database: Arc<Database>) {
    database.open_accounts(20).await;
    let plan = Plan {
        keys: (0..20).map(|at| (format!("k{at}"), 20)).collect(),
        keyless: 20,
        id: Some("m-".to_owned()),
        rolls_back: false,
    };
    database.write(plan).await.expect("a commit");
    let options = [
        "--slow-key",
        "k1=300",
        "--reject",
        REJECTED[0],
        "--reject",
        REJECTED[1],
    ];
    let relay = Process::relay(&database, "run", &options);
    until(LONG, "all that can go", async || {
        let stats = database.stats().await;
        stats.dead == 2 && stats.pending + stats.retrying == 0
    })
    .await;
    relay.stop().await;

    assert!(database.get(REJECTED[0]).await.halts);
    assert!(!database.get(REJECTED[1]).await.halts);
    // The key of a dead message waits for a person; one without a key halts nothing.
    let is_stuck =
        |row: &Committed| row.key.as_deref() == Some("k2") || REJECTED.contains(&row.id.as_str());
    let (stuck, expected): (Vec<_>, Vec<_>) =
        database.history().await.into_iter().partition(is_stuck);
    assert_eq!(stuck.len(), 21);
    for row in stuck {
        let state = database.get(&row.id).await.state;
        let rejected = REJECTED.contains(&row.id.as_str());
        let wanted = if rejected {
            State::Dead
        } else {
            State::Waiting
        };
        assert_eq!(state, wanted, "{}", row.id);
    }
    let lines = log::read(&database.log());
    let report = database.report(&expected);
    report.assert_clean();
    assert_eq!(report.duplicates, 0);
    // The slow key takes six seconds; all others are through long before its end.
    let slow = |line: &support::checker::Accepted| line.key.as_deref() == Some("k1");
    let last_other = lines.iter().rposition(|line| !slow(line)).expect("others");
    let slow_before = lines[..last_other].iter().filter(|line| slow(line)).count();
    println!("{slow_before} of 20 slow ones before the last of the others");
    assert!(slow_before <= 15, "{slow_before}");
    database.remove().await;
}
