//! A campaign: many seeds side by side, what they met, and which of them failed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressStyle};
use iobox_core::dispatch::Bug;

use crate::{
    check::{Violation, check},
    cover::Tally,
    history::{self, Entry},
    plan::Plan,
    world,
};

/// The sums of a campaign.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) seeds: u64,
    pub(crate) rich: u64,
    pub(crate) events: u64,
    pub(crate) faults: u64,
    pub(crate) tally: Tally,
    pub(crate) failures: Vec<(u64, Violation)>,
}

/// How many seeds run side by side.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Runs seeds from `first` on.
pub(crate) fn run(first: u64, seeds: u64, bug: Option<Bug>, prints: bool) -> Sums {
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    let bar = bar(seeds, "simulating");
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(n);
                    let run = world::run(seed, bug);
                    let verdict = check(&run.plan, &run.entries);
                    let mut tally = Tally::default();
                    tally.count(&run.plan, &run.entries);
                    bar.inc(1);
                    let mut sums = sums.lock().expect("no panic holds the lock");
                    if prints {
                        print_history(&run.plan, &run.entries);
                    }
                    sums.seeds += 1;
                    sums.rich += u64::from(run.plan.is_rich(run.faults));
                    sums.faults += u64::try_from(run.faults).unwrap_or(0);
                    sums.events += u64::try_from(run.entries.len()).unwrap_or(0);
                    sums.tally.merge(&tally);
                    if let Err(violation) = verdict {
                        if bug.is_none() {
                            // A long campaign tells it now, and what it comes to at its end.
                            let Violation { invariant, detail } = &violation;
                            bar.suspend(|| eprintln!("seed {seed}: {invariant}: {detail}"));
                        }
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

pub(crate) fn print_history(plan: &Plan, entries: &[Entry]) {
    println!("{plan:#?}");
    for entry in entries {
        let (at, lane) = (entry.at.as_secs_f64(), entry.lane);
        println!("{at:>12.6} {lane:?} {:?}", entry.event);
    }
}

/// Runs some seeds twice: the same seed must give the same history.
pub(crate) fn replays(first: u64, count: u64) -> bool {
    let hashes = || {
        let next = AtomicU64::new(0);
        let hashes = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return;
                        }
                        let seed = first.wrapping_add(n);
                        let hash = history::hash(&world::run(seed, None).entries);
                        let mut hashes = hashes.lock().expect("no panic holds the lock");
                        hashes.insert(seed, hash);
                    }
                });
            }
        });
        hashes.into_inner().expect("no panic holds the lock")
    };
    let (once, again) = (hashes(), hashes());
    let differing: Vec<u64> = once
        .iter()
        .filter(|(seed, hash)| again.get(seed) != Some(hash))
        .map(|(seed, _)| *seed)
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
