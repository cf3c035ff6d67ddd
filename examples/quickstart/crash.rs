//! The crash: the relay is a process of its own, is killed half-way, and another one takes over.

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
    time::{interval, sleep},
};

use crate::{
    check::check,
    checked_lines,
    custom_publisher::JsonLines,
    placed_lines,
    shop::{self, ORDERS, Order, Shop},
};

/// The hidden argument of the relay's process.
pub(crate) const RELAY: &str = "relay-process";

/// The most messages of one batch, and the most in flight: small, so that there is a half-way.
const BATCH: usize = 20;

/// How long the work of a dead process stands still before another one may take it over.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);

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
    let mut terminate = signal(SignalKind::terminate())?;
    let parent = parent_id();
    let orphaned = async move {
        while parent_id() == parent {
            sleep(Duration::from_millis(500)).await;
        }
    };
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            () = orphaned => {}
        }
    };
    Ok(relay.run(shutdown).await?)
}

/// The shop's process.
pub(crate) async fn run() -> Result<()> {
    println!("An order service with its outbox in one SQLite file. The relay is a process of its");
    println!(
        "own, and the broker is a file that is synced before a message counts as published.\n"
    );
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = folder.path();
    let shop = Shop::open(folder).await?;
    let mut first = spawn(folder)?;

    // The shop goes on selling, whatever happens to the relay.
    let selling = tokio::spawn(async move { shop.place_all().await });

    let half = usize::try_from(ORDERS)? * 9 / 20;
    wait_for(folder, &mut first, |ids| ids.len() >= half).await?;
    send(&first, Signal::SIGKILL)?;
    let ended = first.wait().await?;
    ensure!(
        ended.signal() == Some(Signal::SIGKILL as i32),
        "the relay ended by itself, with {ended}, before it could be killed"
    );
    let killed = Instant::now();
    let before = read(folder)?.len();

    let mut second = spawn(folder)?;
    wait_for(folder, &mut second, |ids| ids.len() > before).await?;
    let taken_over = killed.elapsed();
    let rolled_back = selling.await?.context("the shop failed")?;
    let committed = shop::committed(folder)?;
    wait_for(folder, &mut second, |ids| {
        committed.iter().all(|order| ids.contains(&order.id))
    })
    .await?;
    send(&second, Signal::SIGTERM)?;
    let ended = second.wait().await?;
    ensure!(ended.success(), "the second relay drained badly: {ended}");

    let arrived = read(folder)?;
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
    println!("  published    {:>5}  messages\n", arrived.len());
    checked_lines(&report);
    println!(
        "  ok  {} messages arrived twice, of at most {}: sent before the kill, recorded after it",
        report.duplicates,
        2 * BATCH
    );
    println!("\nThat is at least once. Consumers know a repeated message by its id.");
    Ok(())
}

/// Starts a relay in a process of its own; it dies with the handle.
fn spawn(folder: &Path) -> Result<Child> {
    Command::new(env::current_exe()?)
        .arg(RELAY)
        .arg(folder)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the relay's process")
}

fn send(process: &Child, signal: Signal) -> Result<()> {
    let Some(pid) = process.id() else {
        bail!("the relay has ended already");
    };
    kill(Pid::from_raw(i32::try_from(pid)?), signal).context("cannot signal the relay's process")
}

/// Waits until the ids of the published orders are as `wanted`, while `relay` runs.
async fn wait_for(folder: &Path, relay: &mut Child, wanted: impl Fn(&[u32]) -> bool) -> Result<()> {
    let mut again = interval(Duration::from_millis(2));
    loop {
        let ids: Vec<u32> = read(folder)?.iter().map(|order| order.id).collect();
        if wanted(&ids) {
            return Ok(());
        }
        if let Some(status) = relay.try_wait()? {
            bail!("the relay ended by itself, with {status}");
        }
        again.tick().await;
    }
}

/// The published orders, in the order of the file; a line that is not whole does not count.
fn read(folder: &Path) -> Result<Vec<Order>> {
    let text = match fs::read_to_string(folder.join(FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    whole
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).context("a line is not JSON")?;
            serde_json::from_value(line["payload"].take()).context("a payload is not an order")
        })
        .collect()
}
