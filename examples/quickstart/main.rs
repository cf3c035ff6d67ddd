//! Quickstart: an order service on SQLite whose messages are relayed, and checked.
//!
//! `cargo run --example quickstart` places 500 orders while a relay publishes them to a broker in
//! memory, and a warehouse with a database of its own handles each of them once.
//! `cargo run --example quickstart -- --crash` kills the relay's process and the warehouse's half-way.

#![allow(
    clippy::disallowed_methods,
    reason = "an application of its own, which reads the clock of the machine"
)]

mod check;
mod crash;
#[path = "../custom_publisher.rs"]
#[allow(dead_code, reason = "the other example has a main of its own")]
mod custom_publisher;
mod file;
mod shop;
mod warehouse;

use std::{env, path::Path, process::ExitCode, time::Duration, time::Instant};

use anyhow::{Context as _, Result, bail};
use iobox::{Relay, inbox::SourceName, memory::MemoryBroker};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    check::{Report, check},
    shop::{ORDERS, Order, Shop},
    warehouse::Handled,
};

/// How long all of it may take on a machine that is busy.
const TIME_MAX: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => in_time(plain()).await,
        ["--crash"] => in_time(crash::run()).await,
        [crash::RELAY, folder] => crash::relay(Path::new(folder)).await,
        [crash::WAREHOUSE, folder] => crash::warehouse(Path::new(folder)).await,
        _ => Err(anyhow::anyhow!("usage: quickstart [--crash]")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn in_time(work: impl Future<Output = Result<()>>) -> Result<()> {
    match timeout(TIME_MAX, work).await {
        Ok(result) => result,
        Err(_) => bail!("still not done after {TIME_MAX:?}"),
    }
}

/// Shop, outbox, relay and broker in one process.
async fn plain() -> Result<()> {
    println!(
        "An order service with its outbox in one SQLite file, a broker in memory, and a warehouse"
    );
    println!("with its inbox in another SQLite file.\n");
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let shop = Shop::open(folder.path()).await?;

    let broker = MemoryBroker::new();
    let relay = Relay::builder(shop.store.clone(), broker.clone()).build()?;
    let relay = relay.spawn();
    let source = broker.source(SourceName::new("shop")?);
    let store = warehouse::open(folder.path()).await?;
    let inbox = warehouse::inbox(store.clone(), source)?.spawn();

    let start = Instant::now();
    shop.import().await?;
    let rolled_back = shop.place_all(watch::channel(true).1).await?;
    let placed = start.elapsed();
    let messages = usize::try_from(ORDERS)? - rolled_back.len();
    broker.wait_for(messages + 1).await;
    let published = start.elapsed();
    while warehouse::reserved(folder.path())? < messages {
        sleep(Duration::from_millis(1)).await;
    }
    let reserved = start.elapsed();
    inbox.wait_until_empty(TIME_MAX).await?;

    relay.drain().await.context("the relay failed")?;
    inbox.drain().await.context("the inbox failed")?;

    let committed = shop::committed(folder.path())?;
    let arrived = broker.read(0, broker.len());
    let arrived = arrived
        .iter()
        .filter(|published| published.message.topic().as_str() == shop::PLACED)
        .map(|published| serde_json::from_slice(published.message.payload()))
        .collect::<Result<Vec<Order>, _>>()
        .context("a payload is not an order")?;
    let report = check(&committed, &rolled_back, &arrived)?;
    let handled = warehouse::check(folder.path(), &store, &committed).await?;

    placed_lines(committed.len(), rolled_back.len());
    println!("  published    {:>5}  messages\n", arrived.len());
    checked_lines(&report);
    handled_lines(&handled);
    let rate = f64::from(ORDERS) / placed.as_secs_f64();
    println!(
        "\n{:.2} s, {rate:.0} orders a second; the last message was out {:.1} ms after the last commit,",
        reserved.as_secs_f64(),
        (published - placed).as_secs_f64() * 1_000.0
    );
    println!(
        "and its stock reserved {:.1} ms after that.",
        (reserved - published).as_secs_f64() * 1_000.0
    );
    println!("Next: cargo run --example quickstart -- --crash");
    Ok(())
}

/// Prints what the shop did.
fn placed_lines(committed: usize, rolled_back: usize) {
    println!("  placed       {ORDERS:>5}  orders, each in one transaction with its message");
    println!("  committed    {committed:>5}");
    println!("  rolled back  {rolled_back:>5}  (card declined)");
}

/// Prints what the warehouse did.
fn handled_lines(handled: &Handled) {
    println!(
        "  ok  effects = messages: {} reservations, each order once",
        handled.reserved
    );
    println!(
        "  ok  a jammed printer was tried again: the label came at attempt {}",
        handled.attempts
    );
    println!(
        "  ok  1 dead letter, kept with its payload: {}",
        handled.dead
    );
}

/// Prints what the check found.
fn checked_lines(report: &Report) {
    let (name, orders) = &report.example;
    let shown: Vec<String> = orders.iter().take(6).map(|id| format!("#{id}")).collect();
    let more = if orders.len() > shown.len() {
        " …"
    } else {
        ""
    };
    println!("  ok  nothing lost: every committed order arrived, as it is in the table");
    println!("  ok  nothing invented: no order that was rolled back arrived");
    println!(
        "  ok  in order for each of {} customers, such as {name}: {}{more}",
        report.customers,
        shown.join(" ")
    );
}
