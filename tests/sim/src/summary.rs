//! The summary: the figures of a whole campaign, as JSON for the scorecard.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use crate::{bugs::Hunt, campaign::Sums};

/// Writes the figures of a campaign that began with seed `first`, and of its hunts.
pub(crate) fn write(
    path: &Path,
    first: u64,
    sums: &Sums,
    took: Duration,
    hunts: &[Hunt],
) -> Result<(), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|error| format!("the clock is before 1970: {error}"))?;
    let met = sums.tally.needs(sums.seeds).into_iter();
    let met: Map<String, Value> = met
        .map(|(what, times, _)| (what.to_owned(), times.into()))
        .collect();
    let summary = json!({
        "kind": "sim",
        "unix_seconds": now.as_secs(),
        "seconds": took.as_secs(),
        "first_seed": first,
        "seeds": sums.seeds,
        "events": sums.events,
        "faults": sums.faults,
        "processes_killed": sums.tally.sum(&["crashed"]),
        "drains": sums.tally.sum(&["drains"]),
        "violations": sums.failures.len(),
        "met": met,
        "planted": hunts.iter().map(hunted).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())?;
    fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

fn hunted(hunt: &Hunt) -> Value {
    let found = hunt.found.as_ref();
    json!({
        "bug": format!("{:?}", hunt.bug),
        "after_seeds": found.map(|(_, count, _)| count),
        "invariant": found.map(|(_, _, violation)| violation.invariant),
    })
}
