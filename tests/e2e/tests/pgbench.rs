//! `pgbench` writes through the SQL function: the log or the stream and the tables agree.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use support::{
    broker::Broker,
    checker::{Committed, Report, check},
    database::Database,
    process::{Process, stop_all},
};
use tokio::{sync::Mutex, task::spawn_blocking};

const ACCOUNTS: usize = 500;
const CLIENTS: usize = 8;
const TRANSACTIONS: usize = 2_500;

/// One at a time: each wants the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// One transaction in ten is rolled back. The row of the account comes first, so that writers of
/// one key are serialised.
const SCRIPT: &str = r"
\set account random(0, 499)
\set fate random(1, 10)
begin;
update account set n = n + 1 where key = 'k' || :account;
insert into history
  select enqueue('accounts.moved', key, convert_to(n::text, 'UTF8')), key, n
  from account where key = 'k' || :account;
\if :fate = 1
rollback;
\else
commit;
\endif
";

/// The program: in `PATH`, else of the newest server in the usual folder.
fn pgbench() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join("pgbench"));
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let mut servers: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    servers.sort_by_key(number);
    let beside = servers
        .iter()
        .rev()
        .map(|folder| folder.join("bin/pgbench"));
    let found = in_path.chain(beside).find(|program| program.is_file());
    found.expect("pgbench, in PATH or beside the server")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_tables_agree() {
    let database = Database::postgres().await;
    let history = write(&database, &[]).await;
    agree(&database.report(&history));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_and_the_tables_agree() {
    through(Broker::jetstream().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_the_tables_agree() {
    through(Broker::redis().await).await;
}

async fn through(broker: Broker) {
    let database = Database::postgres().await;
    let history = write(&database, &broker.arguments()).await;
    agree(&check(&history, &broker.accepted().await));
    database.remove().await;
}

fn agree(report: &Report) {
    report.assert_clean();
    assert_eq!(report.duplicates, 0, "nothing failed");
}

/// Writes while two relays publish, until all is published; returns what was committed.
async fn write(database: &Database, arguments: &[String]) -> Vec<Committed> {
    let _alone = ALONE.lock().await;
    database.open_accounts(ACCOUNTS).await;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let script = database.file("script.sql");
    fs::write(&script, SCRIPT).expect("a script");
    let relays = ["one", "two"].map(|run| Process::relay(database, run, &arguments));

    let (url, schema) = database.schema();
    let mut command = Command::new(pgbench());
    command
        .args(["--no-vacuum", "--jobs=2"])
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--transactions={TRANSACTIONS}"))
        .arg("--file")
        .arg(script)
        .arg(url)
        .env("PGOPTIONS", format!("-c search_path={schema}"))
        .stdin(Stdio::null());
    let started = Instant::now();
    let output = spawn_blocking(move || command.output())
        .await
        .expect("no panic");
    let output = output.expect("pgbench");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let wrote = started.elapsed();
    database.drained().await;
    let drained = started.elapsed();
    stop_all(relays).await;

    let history = database.history().await;
    let (all, committed) = (CLIENTS * TRANSACTIONS, history.len());
    println!(
        "{all} transactions, {committed} committed, in {wrote:.1?}; drained after {drained:.1?}"
    );
    assert!(
        committed > all * 85 / 100 && committed < all * 95 / 100,
        "{committed} of {all}"
    );
    history
}
