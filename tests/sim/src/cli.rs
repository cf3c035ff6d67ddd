//! The command line of the simulator.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::Parser;
use iobox_core::dispatch::Bug;

use crate::{
    bugs, campaign,
    campaign::Sums,
    check::{Violation, check},
    cover,
    handler::Simulated,
    report,
    seeds::{self, Kept},
    shrink::shrink,
    summary, world,
};

/// Simulates relays and inboxes under faults, and hunts planted bugs.
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
    /// Tries every order of events in a small world instead of drawing schedules.
    #[arg(long)]
    model: bool,
    /// The faults of the model, each at most once in a schedule: sets that are searched one after the
    /// other, such as `crash,expiry+lost`.
    #[arg(long, value_delimiter = ',', default_value = "crash,lost")]
    faults: Vec<String>,
    /// Prints the history of every seed.
    #[arg(long)]
    history: bool,
    /// Keeps failing seeds, shrunken, in tests/seeds: those of planted bugs and any other.
    #[arg(long)]
    keep: bool,
    /// The file for the figures of a whole campaign, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Replays the kept seed of this name, and prints its history.
    #[arg(long)]
    kept: Option<String>,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Simulated>() {
            print(panic);
        }
    }));
    let fine = match &args.kept {
        Some(name) => replay_kept(name),
        None if args.model => explore(&args),
        None => simulate(&args),
    };
    match fine {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// Runs the model, whose figures stand beside those of a campaign.
#[cfg(iobox_bugs)]
fn explore(args: &Args) -> Result<bool, String> {
    let json = args.json.as_ref();
    let json = json.map(|path| path.with_file_name("model.json"));
    crate::model::main(&args.faults, json.as_deref())
}

#[cfg(not(iobox_bugs))]
fn explore(_: &Args) -> Result<bool, String> {
    Err("the model needs --cfg iobox_bugs: run `cargo xtask sim --model`".to_owned())
}

fn simulate(args: &Args) -> Result<bool, String> {
    let bug = args.bug.as_deref().map(seeds::find_bug).transpose()?;
    let mut fine = args.seeds < 100 || bug.is_some() || kept_hold()?;
    let started = Instant::now();
    let sums = campaign::run(args.seed, args.seeds, bug, args.history);
    let took = started.elapsed();
    report::print_sums(&sums, took);
    fine &= sums.failures.is_empty();
    explain(args, bug, &sums)?;
    if args.seeds >= 100 && sums.rich * 2 < sums.seeds {
        println!(
            "fewer than half of the seeds have enough of everything: the generator is too tame"
        );
        fine = false;
    }
    if args.seeds >= 100 && bug.is_none() {
        fine &= report::print_cover(&sums, cover::is_due(args.seeds));
        fine &= campaign::replays(args.seed, 200);
    }
    if !args.no_bugs && bug.is_none() && cfg!(iobox_bugs) && args.seeds >= 100 {
        let hunts = hunt_all(args);
        report::print_hunts(&hunts);
        fine &= hunts.iter().all(|hunt| hunt.found.is_some());
        if args.keep {
            keep_hunts(&hunts)?;
        }
        if let Some(path) = &args.json {
            summary::write(path, args.seed, &sums, took, &hunts)?;
        }
    }
    Ok(fine)
}

/// Shrinks the first failures, and says how to see them.
fn explain(args: &Args, bug: Option<Bug>, sums: &Sums) -> Result<(), String> {
    for (seed, violation) in sums.failures.iter().take(3) {
        let (trim, left) = shrink(*seed, bug, violation);
        println!("seed {seed}, shrunken: {}: {}", left.invariant, left.detail);
        println!("    it needs {trim:?}");
        if args.keep {
            let kept = Kept {
                name: format!("seed-{seed}"),
                seed: *seed,
                bug,
                trim,
            };
            keep(&kept, &left)?;
        }
    }
    Ok(())
}

fn keep(kept: &Kept, violation: &Violation) -> Result<(), String> {
    let name = &kept.name;
    kept.keep(violation)
        .map_err(|error| format!("tests/seeds/{name}.seed: {error}"))?;
    println!("    kept; see it with: cargo xtask sim --kept {name}");
    Ok(())
}

fn keep_hunts(hunts: &[bugs::Hunt]) -> Result<(), String> {
    let left = Mutex::new(hunts.iter());
    let next = || left.lock().expect("no panic holds the lock").next();
    let one_after_the_other = || {
        while let Some(hunt) = next() {
            if let Some((seed, _, violation)) = &hunt.found {
                let (trim, left) = shrink(*seed, Some(hunt.bug), violation);
                let kept = Kept {
                    name: format!("{:?}", hunt.bug),
                    seed: *seed,
                    bug: Some(hunt.bug),
                    trim,
                };
                keep(&kept, &left)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = 0..campaign::threads();
        let threads: Vec<_> = threads.map(|_| scope.spawn(one_after_the_other)).collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("shrinking does not panic"));
        ended.collect()
    })
}

/// Whether the seeds that are kept hold; and says how many still show their bug when it is planted,
/// which a change of the generator ends.
fn kept_hold() -> Result<bool, String> {
    let all = seeds::all()?;
    let mut fine = true;
    for kept in &all {
        if let Err(violation) = kept.replay(false) {
            println!(
                "kept seed {}: {}: {}",
                kept.name, violation.invariant, violation.detail
            );
            fine = false;
        }
    }
    let planted = all.iter().filter(|kept| kept.bug.is_some());
    let planted: Vec<&Kept> = planted.filter(|_| cfg!(iobox_bugs)).collect();
    let shown = planted.iter().filter(|kept| kept.replay(true).is_err());
    println!(
        "{} kept seeds replayed; of {} with a planted bug {} show it",
        all.len(),
        planted.len(),
        shown.count()
    );
    Ok(fine)
}

fn replay_kept(name: &str) -> Result<bool, String> {
    let all = seeds::all()?;
    let kept = all.iter().find(|kept| kept.name == name);
    let kept = kept.ok_or_else(|| format!("there is no kept seed {name:?}"))?;
    let bug = kept.bug.filter(|_| cfg!(iobox_bugs));
    let run = world::run_trimmed(kept.seed, bug, &kept.trim);
    campaign::print_history(&run.plan, &run.entries);
    let verdict = check(&run.plan, &run.entries);
    match &verdict {
        Ok(()) => println!("nothing is broken"),
        Err(violation) => println!("{}: {}", violation.invariant, violation.detail),
    }
    Ok(verdict.is_ok())
}

fn hunt_all(args: &Args) -> Vec<bugs::Hunt> {
    Bug::ALL
        .into_iter()
        .map(|bug| {
            let bar = campaign::bar(args.seeds, &format!("hunting {bug:?}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            let hunt = bugs::hunt(bug, args.seed, args.seeds, &|| bar.inc(1));
            bar.finish_and_clear();
            hunt
        })
        .collect()
}
