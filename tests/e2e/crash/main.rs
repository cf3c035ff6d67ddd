//! The kill harness: relays, inboxes, Postgres, NATS and Redis are killed and started again under
//! load, and what was committed is compared with what arrived.
//!
//! `cargo xtask crash` builds and runs it.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod load;
mod oracle;
mod plan;
mod stage;
#[path = "../tests/support/mod.rs"]
mod support;
mod tally;
mod verdict;
mod volatile;
mod worker;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use iobox_testkit::servers::adopt_orphans;
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    plan::{Event, POSTGRES, SQLITE},
    stage::Stage,
    verdict::{Verdict, judge},
};

/// How long a run may take beside its cycles, and each of those.
const RUN_MAX: Duration = Duration::from_secs(300);
const CYCLE_MAX: Duration = Duration::from_secs(10);

/// Kills everything that can be killed, and checks what became of the messages.
#[derive(Debug, clap::Parser)]
#[command(name = "crash", max_term_width = 100)]
struct Cli {
    /// How many kill events, each with its restart and some work
    #[arg(long, default_value_t = 20)]
    cycles: usize,
    /// The seed of the plan; drawn from the clock when it is not named
    #[arg(long)]
    seed: Option<u64>,
    /// The file for the figures, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only prints the plan
    #[arg(long)]
    plan: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = runtime
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<()> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = cli.seed.unwrap_or(unix);
    let repeat = format!("cargo xtask crash --cycles {} --seed {seed}", cli.cycles);
    println!("seed {seed}; to make the same kills again: {repeat}");
    let [first, second] = plan::split(cli.cycles);
    let plans = [
        plan::draw(first, POSTGRES, seed),
        plan::draw(second, SQLITE, seed ^ 1 << 63),
    ];
    if cli.plan {
        for (flow, events) in ["postgres", "sqlite"].into_iter().zip(&plans) {
            for (at, event) in events.iter().enumerate() {
                println!("{flow} {at}: {event:?}");
            }
        }
        return Ok(());
    }
    adopt_orphans()?;
    let started = Instant::now();
    let limit = RUN_MAX + CYCLE_MAX * u32::try_from(cli.cycles)?;
    let whole = timeout(limit, perform(plans, seed)).await;
    let Ok(whole) = whole else {
        bail!("not within {limit:?}; repeat it with `{repeat}`");
    };
    let (flows, volatile) = whole.with_context(|| format!("repeat it with `{repeat}`"))?;
    let seconds = started.elapsed().as_secs();
    let report = json!({
        "kind": "crash",
        "unix_seconds": unix,
        "seconds": seconds,
        "cycles": cli.cycles,
        "seed": seed,
        "redis_without_file": volatile,
        "flows": flows.iter().map(|(_, verdict)| &verdict.figures).collect::<Vec<&Value>>(),
        "violations": flows.iter().map(|(_, verdict)| verdict.violations.len()).sum::<usize>(),
    });
    let text = serde_json::to_string_pretty(&report)?;
    println!("{text}");
    if let Some(path) = &cli.json {
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut violations = 0;
    for (name, verdict) in &flows {
        for violation in &verdict.violations {
            eprintln!("VIOLATION in {name}: {violation}");
            violations += 1;
        }
    }
    ensure!(
        violations == 0,
        "{violations} violations; repeat it with `{repeat}`"
    );
    println!("{} cycles in {seconds} s, no violation", cli.cycles);
    Ok(())
}

type Flows = [(&'static str, Verdict); 2];

async fn perform([first, second]: [Vec<Event>; 2], seed: u64) -> Result<(Flows, Value)> {
    let volatile = volatile::show().await?;
    println!("a Redis without a file: {volatile}");
    // Threads of their own, so that a server that one of them starts does not hold up the other.
    let (here, there) = (Handle::current(), Handle::current());
    let first = spawn_blocking(move || {
        here.block_on(async { flow(Stage::postgres(seed).await?, &first, "nats").await })
    });
    let second = spawn_blocking(move || {
        there.block_on(async { flow(Stage::sqlite(seed).await?, &second, "redis").await })
    });
    let flat = async |task: JoinHandle<Result<_>>| task.await?;
    let (first, second) = tokio::try_join!(flat(first), flat(second))?;
    Ok(([first, second], volatile))
}

/// Runs one flow through its events.
async fn flow(mut stage: Stage, events: &[Event], broker: &str) -> Result<(&'static str, Verdict)> {
    let started = Instant::now();
    for (at, event) in events.iter().enumerate() {
        let met = stage.cycle(event).await;
        let met = met.with_context(|| format!("{}, cycle {at}", stage.name))?;
        let seconds = started.elapsed().as_secs_f64();
        println!("{} {at} at {seconds:.1} s: killed {met}", stage.name);
    }
    let name = stage.name;
    let evidence = stage.end().await?;
    let mut verdict = judge(&evidence, &stage.tally);
    verdict.figures["flow"] = name.into();
    verdict.figures["seconds"] = started.elapsed().as_secs().into();
    verdict.figures["kills"] = stage.tally.json(broker);
    let servers = stage.servers().into_iter();
    verdict.figures["servers"] = servers
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    Ok((name, verdict))
}
