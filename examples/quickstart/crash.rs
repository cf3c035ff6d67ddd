//! The crash: relay and warehouse are processes of their own, each is killed half-way, and another one
//! takes over.

use std::{
    env, fs,
    os::unix::process::{ExitStatusExt as _, parent_id},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use iobox::{
    Relay,
    sqlite::{Config, SqliteStore},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{interval, sleep},
};

use crate::{
    check::check,
    checked_lines,
    custom_publisher::JsonLines,
    file::JsonLinesSource,
    handled_lines, placed_lines,
    shop::{self, ORDERS, Order, Shop},
    warehouse,
};

/// The hidden argument of the relay's process.
pub(crate) const RELAY: &str = "relay-process";
/// The hidden argument of the warehouse's process.
pub(crate) const WAREHOUSE: &str = "warehouse-process";

/// The most messages of one batch, and the most in flight: small, so that there is a half-way.
const BATCH: usize = 20;

/// How long the work of a dead process stands still before another one may take it over.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// How long the rest may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file that is the broker.
const FILE: &str = "published.jsonl";

/// The relay's process: runs until SIGTERM, or until nobody is left to send one.
pub(crate) async fn relay(folder: &Path) -> Result<()> {
    let store = SqliteStore::open(Config::new(folder.join("shop.db")))?;
    let relay = Relay::builder(store, JsonLines::open(&folder.join(FILE))?)
        .batch(BATCH)
        .max_in_flight(BATCH)
        .time_to_live(TIME_TO_LIVE)
        .publish_timeout(TIME_TO_LIVE * 4 / 10)
        .settle_timeout(TIME_TO_LIVE * 2 / 10)
        .build()?;
    Ok(relay.run(shutdown()?).await?)
}

/// The warehouse's process: the same.
pub(crate) async fn warehouse(folder: &Path) -> Result<()> {
    let store = warehouse::open(folder).await?;
    let source = JsonLinesSource::new(&folder.join(FILE))?;
    let inbox = warehouse::inbox(store, source)?;
    Ok(inbox.run(shutdown()?).await?)
}

/// Completes at SIGTERM, or when the process that started this one is gone.
fn shutdown() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let parent = parent_id();
    let orphaned = async move {
        while parent_id() == parent {
            sleep(Duration::from_millis(500)).await;
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            () = orphaned => {}
        }
    })
}

/// The shop's process.
pub(crate) async fn run() -> Result<()> {
    println!(
        "An order service with its outbox in one SQLite file, and a warehouse with its inbox in"
    );
    println!(
        "another. The relay is a process of its own, so is the warehouse, and the broker is a"
    );
    println!("file that is synced before a message counts as published.\n");
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = folder.path();
    let shop = Shop::open(folder).await?;
    let store = warehouse::open(folder).await?;
    let mut first = spawn(RELAY, folder)?;
    let mut stock = spawn(WAREHOUSE, folder)?;

    // The shop goes on selling, whatever happens to the others, but keeps some orders for after that.
    let (go_on, gate) = watch::channel(false);
    let selling = tokio::spawn(async move {
        shop.import().await?;
        shop.place_all(gate).await
    });

    let half = usize::try_from(ORDERS)? * 9 / 20;
    wait_for(&mut first, || Ok(read(folder)?.len() >= half)).await?;
    murder(&mut first).await?;
    let killed = Instant::now();
    let before = read(folder)?.len();
    let mut second = spawn(RELAY, folder)?;

    wait_for(&mut stock, || Ok(warehouse::reserved(folder)? >= half / 2)).await?;
    murder(&mut stock).await?;
    let reserved_before = warehouse::reserved(folder)?;
    let mut stock = spawn(WAREHOUSE, folder)?;

    go_on.send_replace(true);
    wait_for(&mut second, || Ok(read(folder)?.len() > before)).await?;
    let taken_over = killed.elapsed();
    let rolled_back = selling.await?.context("the shop failed")?;
    let committed = shop::committed(folder)?;
    wait_for(&mut second, || {
        let arrived = read(folder)?;
        let has = |order: &Order| arrived.iter().any(|other| other.id == order.id);
        Ok(committed.iter().all(has))
    })
    .await?;
    wait_for(&mut stock, || {
        Ok(warehouse::reserved(folder)? >= committed.len())
    })
    .await?;
    let inbox = warehouse::inbox(store.clone(), JsonLinesSource::new(&folder.join(FILE))?)?;
    for (name, process) in [("relay", &mut second), ("warehouse", &mut stock)] {
        send(process, Signal::SIGTERM)?;
        let ended = process.wait().await?;
        ensure!(ended.success(), "the second {name} drained badly: {ended}");
    }
    // What the warehouse had not handled when it was told to stop is handled here.
    let rest = inbox.spawn();
    rest.wait_until_empty(PATIENCE).await?;
    rest.drain().await?;

    let arrived = read(folder)?;
    let handled = warehouse::check(folder, &store, &committed).await?;
    let report = check(&committed, &rolled_back, &arrived)?;
    ensure!(
        report.duplicates <= 2 * BATCH,
        "{} messages arrived twice; a crash may repeat at most {} in flight and {BATCH} of a batch",
        report.duplicates,
        BATCH
    );

    placed_lines(committed.len(), rolled_back.len());
    println!("  killed               the first relay, by SIGKILL, after {before} messages");
    println!(
        "  taken over           by the second relay, after {:.1} s; stopped by SIGTERM, drained",
        taken_over.as_secs_f64()
    );
    println!(
        "  killed               the first warehouse, by SIGKILL, after {reserved_before} reservations"
    );
    println!("  published    {:>5}  messages\n", arrived.len());
    checked_lines(&report);
    println!(
        "  ok  {} messages arrived twice, of at most {}: sent before the kill, recorded after it",
        report.duplicates,
        2 * BATCH
    );
    handled_lines(&handled);
    println!("\nThe broker was told at least once; the warehouse's stock moved exactly once.");
    Ok(())
}

/// Starts a process of its own, which dies with the handle.
fn spawn(what: &str, folder: &Path) -> Result<Child> {
    Command::new(env::current_exe()?)
        .arg(what)
        .arg(folder)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start the {what}"))
}

/// Kills a process half-way.
async fn murder(process: &mut Child) -> Result<()> {
    send(process, Signal::SIGKILL)?;
    let ended = process.wait().await?;
    ensure!(
        ended.signal() == Some(Signal::SIGKILL as i32),
        "the process ended by itself, with {ended}, before it could be killed"
    );
    Ok(())
}

fn send(process: &Child, signal: Signal) -> Result<()> {
    let Some(pid) = process.id() else {
        bail!("the process has ended already");
    };
    kill(Pid::from_raw(i32::try_from(pid)?), signal).context("cannot signal the process")
}

/// Waits until `wanted` holds, while `process` runs.
async fn wait_for(process: &mut Child, wanted: impl Fn() -> Result<bool>) -> Result<()> {
    let mut again = interval(Duration::from_millis(2));
    while !wanted()? {
        if let Some(status) = process.try_wait()? {
            bail!("the process ended by itself, with {status}");
        }
        again.tick().await;
    }
    Ok(())
}

/// The published orders, in the order of the file; a line that is not whole does not count.
fn read(folder: &Path) -> Result<Vec<Order>> {
    let text = match fs::read_to_string(folder.join(FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    let mut orders = Vec::new();
    for line in whole.lines() {
        let mut line: Value = serde_json::from_str(line).context("a line is not JSON")?;
        if line["topic"] == shop::PLACED {
            let order = serde_json::from_value(line["payload"].take());
            orders.push(order.context("a payload is not an order")?);
        }
    }
    Ok(orders)
}
