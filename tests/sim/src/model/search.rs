//! The search: every step from every state, until there is no state that was not seen.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use iobox_core::dispatch::Bug;

use super::{
    check::Violation,
    step::Step,
    world::{Faults, World},
};

/// After how many states a line of progress is shown.
const PROGRESS: u64 = 250_000;

/// What a search met.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: u64,
    pub(super) transitions: u64,
    /// States in which everything is done.
    pub(super) ends: u64,
    /// The longest way that was gone.
    pub(super) depth: u32,
    /// Whether every state was seen.
    pub(super) complete: bool,
    pub(super) violation: Option<(Violation, Vec<Step>)>,
}

/// The way to a state, shared with its neighbours.
#[derive(Debug)]
struct Way {
    step: Step,
    before: Option<Arc<Self>>,
    depth: u32,
}

/// Two hashes of a state: that two of some millions of states share both is as good as impossible.
fn fingerprint(world: &World) -> (u64, u64) {
    let text = world.state();
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &text).hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

/// Tries everything, at most so many states.
pub(super) fn search(bug: Option<Bug>, faults: Faults, states_max: u64) -> Found {
    let mut found = Found::default();
    let first = match World::new(bug, faults) {
        Ok(first) => first,
        Err(violation) => {
            found.violation = Some((violation, Vec::new()));
            return found;
        }
    };
    let mut seen = HashSet::from([fingerprint(&first)]);
    found.states = 1;
    // Depth first, so that few worlds are kept.
    let mut open: Vec<(World, Option<Arc<Way>>)> = vec![(first, None)];
    while let Some((world, way)) = open.pop() {
        let depth = way.as_ref().map_or(0, |way| way.depth) + 1;
        found.depth = found.depth.max(depth);
        for step in world.steps() {
            found.transitions += 1;
            let mut next = world.fork();
            let made = next
                .make(step)
                .and_then(|()| if next.is_over() { next.over() } else { Ok(()) });
            if let Err(violation) = made {
                found.violation = Some((violation, steps(way.as_deref(), step)));
                return found;
            }
            if !seen.insert(fingerprint(&next)) {
                continue;
            }
            found.states += 1;
            if found.states % PROGRESS == 0 {
                eprintln!("{} states, {} open", found.states, open.len());
            }
            if next.is_over() {
                found.ends += 1;
                continue;
            }
            if found.states >= states_max {
                return found;
            }
            let before = way.clone();
            open.push((
                next,
                Some(Arc::new(Way {
                    step,
                    before,
                    depth,
                })),
            ));
        }
    }
    found.complete = true;
    found
}

/// The steps of a way and one more.
fn steps(mut way: Option<&Way>, last: Step) -> Vec<Step> {
    let mut steps = vec![last];
    while let Some(one) = way {
        steps.push(one.step);
        way = one.before.as_deref();
    }
    steps.reverse();
    steps
}
