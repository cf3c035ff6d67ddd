//! The bug hunt: each planted bug must be found by the same generator and checker.

use std::sync::atomic::{AtomicU64, Ordering};

use iobox_core::dispatch::Bug;

use crate::{
    check::{Violation, check},
    world,
};

/// What became of the hunt for one bug.
pub(crate) struct Hunt {
    pub(crate) bug: Bug,
    /// The first failing seed, and how many seeds were run up to it.
    pub(crate) found: Option<(u64, u64, Violation)>,
}

/// Runs seeds with the bug planted until one fails, at most `most`.
pub(crate) fn hunt(bug: Bug, first: u64, most: u64, tick: &(dyn Fn() + Sync)) -> Hunt {
    let next = AtomicU64::new(0);
    let failing = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..crate::campaign::threads() {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= most || n > failing.load(Ordering::Relaxed) {
                        return;
                    }
                    let run = world::run(first.wrapping_add(n), Some(bug));
                    tick();
                    if check(&run.plan, &run.entries).is_err() {
                        failing.fetch_min(n, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let n = failing.load(Ordering::Relaxed);
    let found = (n != u64::MAX).then(|| {
        let seed = first.wrapping_add(n);
        let run = world::run(seed, Some(bug));
        let violation = check(&run.plan, &run.entries).expect_err("it failed before");
        (seed, n + 1, violation)
    });
    Hunt { bug, found }
}
