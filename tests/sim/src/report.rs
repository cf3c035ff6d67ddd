//! The report of a campaign.

use std::time::Duration;

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use crate::{bugs::Hunt, campaign::Sums};

pub(crate) fn print_sums(sums: &Sums, took: Duration) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let mut row = |what: &str, count: u64| {
        table.add_row([what.to_owned(), count.to_string()]);
    };
    row("seeds", sums.seeds);
    row(
        "with 2+ instances, 3+ keys, 20+ messages, 3+ faults",
        sums.rich,
    );
    row("events", sums.events);
    row("faults injected", sums.faults);
    row("processes killed", sums.tally.sum(&["crashed"]));
    row("drains", sums.tally.sum(&["drains"]));
    row(
        "violations",
        u64::try_from(sums.failures.len()).unwrap_or(u64::MAX),
    );
    println!("{table}");
    let per_second = f64_of(sums.seeds) / took.as_secs_f64().max(0.001);
    println!(
        "{} seeds in {:.1} s, {per_second:.0} seeds/s",
        sums.seeds,
        took.as_secs_f64()
    );
    for (seed, violation) in sums.failures.iter().take(20) {
        println!("seed {seed}: {}: {}", violation.invariant, violation.detail);
        println!("    replay with: cargo xtask sim --seeds 1 --seed {seed} --history");
    }
}

/// Prints what was met, and says whether it was enough, if that is due.
pub(crate) fn print_cover(sums: &Sums, due: bool) -> bool {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["met", "times", "at least"]);
    let needs = sums.tally.needs(sums.seeds);
    for (what, times, least) in &needs {
        table.add_row([(*what).to_owned(), times.to_string(), least.to_string()]);
    }
    println!("{table}");
    let rare: Vec<_> = needs.iter().filter(|need| need.1 < need.2).collect();
    if due {
        for (what, times, least) in &rare {
            println!("{what}: {times} times, and at least {least} are needed");
        }
    }
    !due || rare.is_empty()
}

pub(crate) fn print_hunts(hunts: &[Hunt]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "planted bug",
        "found at seed",
        "after seeds",
        "by the invariant",
    ]);
    for hunt in hunts {
        let name = format!("{:?}", hunt.bug);
        match &hunt.found {
            Some((seed, count, violation)) => {
                table.add_row([
                    &name,
                    &seed.to_string(),
                    &count.to_string(),
                    violation.invariant,
                ]);
            }
            None => {
                table.add_row([name.as_str(), "NOT FOUND", "", ""]);
            }
        }
    }
    println!("{table}");
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn f64_of(count: u64) -> f64 {
    count as f64
}
