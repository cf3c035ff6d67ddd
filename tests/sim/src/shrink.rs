//! Shrinking: leaves out of a failing run whatever it fails without.

use std::{collections::BTreeSet, sync::Arc};

use iobox_core::dispatch::Bug;

use crate::{
    check::{Violation, check},
    plan::Trim,
    rates::Rates,
    world::{Run, run_trimmed},
};

/// The most runs that one shrinking takes.
const RUNS_MAX: u32 = 150;

/// A failing run that is being made smaller.
struct Shrinking {
    seed: u64,
    bug: Option<Bug>,
    /// What it must go on to break.
    invariant: &'static str,
    trim: Trim,
    runs: u32,
}

/// Makes a failing run smaller, and returns what can be left out and what it breaks then.
pub(crate) fn shrink(seed: u64, bug: Option<Bug>, violation: &Violation) -> (Trim, Violation) {
    let mut shrinking = Shrinking {
        seed,
        bug,
        invariant: violation.invariant,
        trim: Trim::default(),
        runs: 0,
    };
    shrinking.messages();
    shrinking.rates();
    shrinking.faults();
    let run = run_trimmed(seed, bug, &shrinking.trim);
    let left = check(&run.plan, &run.entries);
    (
        shrinking.trim,
        left.err().unwrap_or_else(|| violation.clone()),
    )
}

impl Shrinking {
    /// Keeps `trim` if the run still breaks the same without what it leaves out.
    fn takes(&mut self, trim: Trim) -> Option<Run> {
        if self.runs >= RUNS_MAX {
            return None;
        }
        self.runs += 1;
        let run = run_trimmed(self.seed, self.bug, &trim);
        let broken = check(&run.plan, &run.entries).err()?;
        if broken.invariant != self.invariant {
            return None;
        }
        self.trim = trim;
        Some(run)
    }

    fn with(&self, change: impl FnOnce(&mut Trim)) -> Trim {
        let mut trim = self.trim.clone();
        change(&mut trim);
        trim
    }

    /// Fewer messages.
    fn messages(&mut self) {
        let run = run_trimmed(self.seed, self.bug, &self.trim);
        let mut most = run.plan.messages;
        let mut step = most / 2;
        while step > 0 {
            let fewer = most.saturating_sub(step);
            if fewer > 0
                && self
                    .takes(self.with(|trim| trim.messages = Some(fewer)))
                    .is_some()
            {
                most = fewer;
            } else {
                step /= 2;
            }
        }
    }

    /// Fewer kinds of faults.
    fn rates(&mut self) {
        for name in Rates::NAMES {
            let trim = self.with(|trim| {
                trim.without.insert((*name).to_owned());
            });
            self.takes(trim);
        }
    }

    /// Fewer faults: ever smaller parts of those that are left are left out.
    fn faults(&mut self) {
        let run = run_trimmed(self.seed, self.bug, &self.trim);
        let mut left: Vec<u32> = (0..run.struck).collect();
        let mut size = left.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < left.len() {
                let mut fewer = left.clone();
                fewer.drain(at..(at + size).min(left.len()));
                let only: BTreeSet<u32> = fewer.iter().copied().collect();
                let trim = self.with(|trim| trim.only = Some(Arc::new(only)));
                if self.takes(trim).is_some() {
                    left = fewer;
                } else {
                    at += size;
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }
}
