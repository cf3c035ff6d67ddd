//! The run of the model: to its end without a bug, and until each planted bug is found.

use std::{
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use iobox_core::dispatch::Bug;
use serde_json::{Value, json};

use super::{
    search::{Found, search},
    world::Faults,
};

/// More states than the model has; a model that grew beyond is to be cut down, not left unfinished.
const STATES_MAX: u64 = 20_000_000;
/// How many states a bug may take to be found.
const HUNT_MAX: u64 = 2_000_000;

/// Bugs that two owners and three messages are enough for.
const BUGS: [Bug; 6] = [
    Bug::UnfencedSettle,
    Bug::SettleBeforeAck,
    Bug::NoKeyGate,
    Bug::TimeoutIsSuccess,
    Bug::LeaseNeverReclaimed,
    Bug::TakeoverKeepsEpoch,
];

/// Runs it, for each set of faults by itself. Returns whether all is well.
pub(crate) fn main(sets: &[String], json: Option<&Path>) -> Result<bool, String> {
    let sets: Vec<Faults> = sets
        .iter()
        .map(|set| parse(set))
        .collect::<Result<_, _>>()?;
    // The clock of the store is that of a runtime, and stands still.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let _inside = runtime.enter();
    let started = Instant::now();
    let searches: Vec<Found> = sets.iter().map(|faults| explore(*faults)).collect();
    let seconds = started.elapsed().as_secs();
    let mut fine = searches.iter().all(|found| found.complete);
    let mut planted = Vec::new();
    for bug in BUGS {
        let mut hunts = sets
            .iter()
            .map(|faults| search(Some(bug), *faults, HUNT_MAX));
        let caught = hunts.find_map(|hunt| {
            let (violation, steps) = hunt.violation?;
            Some((hunt.states, violation.invariant, steps.len()))
        });
        match caught {
            Some((states, invariant, depth)) => {
                println!("{bug:?}: found after {states} states, {depth} steps deep: {invariant}");
                let name = format!("{bug:?}");
                planted.push(json!({"bug": name, "states": states, "invariant": invariant}));
            }
            None => {
                println!("{bug:?}: NOT FOUND");
                fine = false;
            }
        }
    }
    if let Some(path) = json {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_err(|error| format!("the clock is before 1970: {error}"))?;
        let sum = |field: fn(&Found) -> u64| searches.iter().map(field).sum::<u64>();
        let each = sets.iter().zip(&searches);
        let summary = json!({
            "kind": "model",
            "unix_seconds": now.as_secs(),
            "seconds": seconds,
            "states": sum(|found| found.states),
            "transitions": sum(|found| found.transitions),
            "complete": searches.iter().all(|found| found.complete),
            "violations": searches.iter().filter(|found| found.violation.is_some()).count(),
            "searches": each.map(|(faults, found)| figures(*faults, found)).collect::<Vec<_>>(),
            "planted": planted,
        });
        let text = serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(fine)
}

/// Reads names of faults, joined by `+`.
fn parse(set: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for name in set.split('+') {
        match name {
            "crash" => faults.crash = true,
            "expiry" => faults.expiry = true,
            "lost" => faults.lost = true,
            _ => return Err(format!("{name:?} is none of crash, expiry, lost")),
        }
    }
    Ok(faults)
}

/// Searches without a planted bug, and says what came of it.
fn explore(faults: Faults) -> Found {
    let started = Instant::now();
    let found = search(None, faults, STATES_MAX);
    println!(
        "model, {faults:?}: {} states, {} transitions, {} ends, at most {} steps deep, in {:.1} s; {}",
        found.states,
        found.transitions,
        found.ends,
        found.depth,
        started.elapsed().as_secs_f64(),
        if found.complete {
            "every state was seen"
        } else {
            "NOT every state was seen"
        }
    );
    if let Some((violation, steps)) = &found.violation {
        println!("{}: {}", violation.invariant, violation.detail);
        println!("    after {steps:?}");
    }
    found
}

fn figures(faults: Faults, found: &Found) -> Value {
    json!({
        "crash": faults.crash,
        "expiry": faults.expiry,
        "lost": faults.lost,
        "states": found.states,
        "transitions": found.transitions,
        "ends": found.ends,
        "depth": found.depth,
        "complete": found.complete,
    })
}
