//! A Redis that keeps nothing: refused at start, and when forced it loses what it confirmed.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    LONG, POLL, broker::Broker, checker::check, database::Database, process::Process,
    writers::Writers,
};

const MESSAGES: u64 = 500;
const KEYS: usize = 20;

/// Shows both. Returns the figures; an error says which of them did not come out.
pub(crate) async fn show() -> Result<Value> {
    let database = Database::sqlite().await;
    database.open_accounts(KEYS).await;
    let mut broker = Broker::redis_with(&["appendonly no".to_owned()]).await;
    let arguments = broker.arguments();
    let options: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Writers::fill(&database, KEYS, MESSAGES, LONG).await;

    refuse(&database, &options).await?;
    let sent = broker.accepted().await.len();
    ensure!(
        sent == 0,
        "{sent} messages went to a Redis that was refused"
    );

    let relay = Process::relay(
        &database,
        "forced",
        &[&options[..], &["--volatile"]].concat(),
    );
    database.drained().await;
    relay.stop().await;
    let history = database.history().await;
    let before = check(&history, &broker.accepted().await).lost.len();
    tokio::task::block_in_place(|| broker.server().kill())?;
    tokio::task::block_in_place(|| broker.server().start())?;
    let lost = check(&history, &broker.accepted().await).lost.len();
    ensure!(
        before == 0 && lost > 0,
        "{before} messages were lost before the kill, {lost} after it: it was to lose some"
    );
    Ok(json!({"refused": true, "confirmed": history.len(), "lost_when_forced": lost}))
}

/// A relay ends by itself and says why.
async fn refuse(database: &Arc<Database>, options: &[&str]) -> Result<()> {
    let mut relay = Process::relay(database, "refused", options);
    let deadline = Instant::now() + LONG;
    let status = loop {
        if let Some(status) = relay.ended() {
            break status;
        }
        ensure!(
            Instant::now() < deadline,
            "a relay works with a Redis that keeps nothing"
        );
        sleep(POLL).await;
    };
    let errors = relay.errors();
    ensure!(
        !status.success() && errors.contains("appendonly"),
        "it ended with {status} and says: {errors}"
    );
    Ok(())
}
