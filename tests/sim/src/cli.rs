//! The command line of the simulator.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    bugs,
    check::check,
    history::{self, Entry, Event, Reply, Result as SettleResult},
    report::{Sums, print_hunts, print_sums},
    world,
};

/// Simulates the relay under faults, and hunts planted bugs.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plants this bug instead of hunting all of them.
    #[arg(long)]
    bug: Option<String>,
    /// Does not hunt planted bugs.
    #[arg(long)]
    no_bugs: bool,
    /// Prints the history of every seed.
    #[arg(long)]
    history: bool,
}

/// How many seeds run side by side.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let bug = match args.bug.as_deref().map(find_bug).transpose() {
        Ok(bug) => bug,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let sums = campaign(&args, bug);
    print_sums(&sums, started.elapsed());
    let mut failed = !sums.failures.is_empty();
    if args.seeds >= 100 && sums.rich * 2 < sums.seeds {
        println!(
            "fewer than half of the seeds have enough of everything: the generator is too tame"
        );
        failed = true;
    }
    if args.seeds >= 100 {
        failed |= !replays(args.seed, 100);
    }
    if !args.no_bugs && bug.is_none() && cfg!(iobox_bugs) && args.seeds >= 100 {
        let hunts = hunt_all(&args);
        print_hunts(&hunts);
        failed |= hunts.iter().any(|hunt| hunt.found.is_none());
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn find_bug(name: &str) -> Result<iobox_core::dispatch::Bug, String> {
    let all = iobox_core::dispatch::Bug::ALL;
    all.into_iter()
        .find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("there is no bug {name:?}; there are {all:?}"))
}

fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn campaign(args: &Args, bug: Option<iobox_core::dispatch::Bug>) -> Sums {
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    let bar = bar(args.seeds, "simulating");
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= args.seeds {
                        return;
                    }
                    let seed = args.seed.wrapping_add(n);
                    let run = world::run(seed, bug);
                    let verdict = check(&run.plan, &run.entries);
                    bar.inc(1);
                    let mut sums = sums.lock().expect("no panic holds the lock");
                    if args.history {
                        print_history(&run.plan, &run.entries);
                    }
                    sums.seeds += 1;
                    sums.rich += u64::from(run.plan.is_rich(run.faults));
                    sums.faults += u64::try_from(run.faults).unwrap_or(0);
                    count(&mut sums, &run.entries);
                    if let Err(violation) = verdict {
                        sums.failures.push((seed, violation));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut sums = sums.into_inner().expect("no panic holds the lock");
    sums.failures.sort_by_key(|(seed, _)| *seed);
    sums
}

fn count(sums: &mut Sums, entries: &[Entry]) {
    sums.events += u64::try_from(entries.len()).unwrap_or(0);
    for entry in entries {
        match &entry.event {
            Event::Crashed { .. } => sums.crashes += 1,
            Event::Paused { .. } => sums.pauses += 1,
            Event::DrainAsked { .. } => sums.drains += 1,
            Event::Settled {
                result: SettleResult::LeaseLost,
                ..
            } => sums.lease_lost += 1,
            Event::Settled {
                kind: history::Kind::Dead { .. },
                ..
            } => sums.dead += 1,
            Event::Outcome {
                outcome: Reply::Unknown,
                ..
            }
            | Event::Ended { .. } => sums.unknown += 1,
            Event::Accepted { new: false, .. } => sums.duplicates += 1,
            _ => {}
        }
    }
}

fn print_history(plan: &crate::plan::Plan, entries: &[Entry]) {
    println!("{plan:#?}");
    for entry in entries {
        println!("{:>12.6} {:?}", entry.at.as_secs_f64(), entry.event);
    }
}

/// Runs some seeds twice: the same seed must give the same history.
fn replays(first: u64, count: u64) -> bool {
    let differing: Vec<u64> = (first..first + count)
        .filter(|seed| {
            let once = history::hash(&world::run(*seed, None).entries);
            let again = history::hash(&world::run(*seed, None).entries);
            once != again
        })
        .collect();
    println!(
        "{count} seeds run twice, {} with another history",
        differing.len()
    );
    if let Some(seed) = differing.first() {
        println!("the first of them is {seed}: something is not drawn from the seed");
    }
    differing.is_empty()
}

fn hunt_all(args: &Args) -> Vec<bugs::Hunt> {
    iobox_core::dispatch::Bug::ALL
        .into_iter()
        .map(|bug| {
            let bar = bar(args.seeds, &format!("hunting {bug:?}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            let hunt = bugs::hunt(bug, args.seed, args.seeds, &|| bar.inc(1));
            bar.finish_and_clear();
            hunt
        })
        .collect()
}
