//! Coverage: what a run of the simulator must have met, and how often.

use std::collections::{BTreeMap, BTreeSet};

use iobox_core::partition::Partitions;

use crate::{
    history::{Entry, Event, Id, Kind, Lane, Process, Reply, Result as SettleResult},
    plan::Plan,
    point::Point,
};

/// The seeds for which the least counts are given.
const SEEDS: u64 = 20_000;

/// Something that must happen at least so often in 20,000 seeds: what it is, the names under which it
/// is counted, the least count.
pub(crate) type Need = (&'static str, &'static [&'static str], u64);

/// Faults of the list that a deterministic simulation can make, and states that must be reached. The
/// crash points come before them, each 100 times.
const NEEDS: [Need; 34] = [
    (
        "F1 lease lost while sending",
        &["taken over while sending"],
        50,
    ),
    (
        "F3 acks lost or late",
        &["ack lost", "source: ack lost", "source: ack comes late"],
        50,
    ),
    (
        "F3 reply to an ack lost",
        &["source: reply to an ack lost"],
        50,
    ),
    ("F4 copies that come late", &["late copy"], 50),
    (
        "F5 store: not reached",
        &["store down", "store fails before"],
        50,
    ),
    ("F5 store: reply lost", &["store reply lost"], 50),
    (
        "F5 store: effect after its caller gave up",
        &["a call takes effect late"],
        50,
    ),
    ("F6 broker: not reached", &["broker down"], 50),
    ("F10 broker forgets ids", &["the broker forgets ids"], 50),
    (
        "F13 clock of the store jumps",
        &["the store's clock jumps"],
        50,
    ),
    (
        "F16 handler outlasts the lease",
        &["handler outlasts the lease"],
        50,
    ),
    ("F17 handler panics", &["handler panics"], 50),
    ("F18 handler never returns", &["handler never returns"], 50),
    ("F23 transactions to be run again", &["store conflict"], 50),
    (
        "F24 two processes with the same ids",
        &["a twin starts"],
        50,
    ),
    ("F26 rows purged meanwhile", &["purged"], 50),
    (
        "F27 replayed behind later ones",
        &["replayed out of order"],
        50,
    ),
    ("F29 runs with a hot key", &["hot key"], 50),
    ("processes stopped for three leases", &["paused"], 100),
    ("settles refused: lease lost", &["lease lost"], 1_000),
    ("copies that the broker knew", &["copies known"], 1_000),
    ("outcomes unknown", &["unknown"], 1_000),
    ("dead letters", &["dead"], 500),
    ("keys halted", &["halted"], 100),
    ("drains with messages in flight", &["drains in flight"], 100),
    ("suspects run alone", &["suspects alone"], 100),
    (
        "messages that kill their process",
        &["killer", "handler kills its process"],
        100,
    ),
    (
        "source: open or next fails",
        &["source: open fails", "source: next fails"],
        100,
    ),
    ("source: batch cut short", &["source: batch cut short"], 100),
    (
        "source: begins before the position",
        &["source: hands out what was read before"],
        100,
    ),
    ("batches refused: lease lost", &["not stored"], 100),
    ("arrivals that were known", &["arrivals known"], 100),
    ("handlers subscribed later", &["subscribed later"], 100),
    ("effects of handlers", &["effects"], 1_000),
];

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// How often what stands under any of these names happened.
    pub(crate) fn sum(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.0.get(name)).sum()
    }

    /// Counts a history.
    pub(crate) fn count(&mut self, plan: &Plan, entries: &[Entry]) {
        if plan.hot {
            self.add("hot key");
        }
        let mut flights = Flights::new(plan);
        let mut subscribed = BTreeSet::new();
        for entry in entries {
            for what in flights.see(entry) {
                self.add(what);
            }
            match &entry.event {
                Event::Fault { what } => self.add(what),
                Event::Killed { at, .. } => {
                    let names = Point::ALL.iter().find(|(point, _)| point == at);
                    self.0
                        .extend(names.map(|(_, name)| (*name, self.sum(&[name]) + 1)));
                }
                Event::Crashed { .. } => self.add("crashed"),
                Event::Paused { .. } => self.add("paused"),
                Event::DrainAsked { .. } => self.add("drains"),
                Event::Settled { kind, result, .. } => self.settled(*kind, *result),
                Event::Outcome {
                    outcome: Reply::Unknown,
                    ..
                }
                | Event::Ended { .. } => self.add("unknown"),
                Event::Accepted { new: false, .. } => self.add("copies known"),
                Event::Replayed {
                    out_of_order: true, ..
                } => self.add("replayed out of order"),
                Event::Purged { .. } => self.add("purged"),
                Event::NotStored { .. } => self.add("not stored"),
                Event::Stored { arrivals, .. } => {
                    for _ in arrivals.iter().filter(|(_, new)| !new) {
                        self.add("arrivals known");
                    }
                }
                Event::Subscribed { handlers } => {
                    let before = subscribed.len();
                    subscribed.extend(handlers.iter().copied());
                    if before > 0 && subscribed.len() > before {
                        self.add("subscribed later");
                    }
                }
                Event::Effect { .. } => self.add("effects"),
                _ => {}
            }
        }
    }

    fn settled(&mut self, kind: Kind, result: SettleResult) {
        match (kind, result) {
            (_, SettleResult::LeaseLost) => self.add("lease lost"),
            (Kind::Dead { halts }, _) => {
                self.add("dead");
                if halts {
                    self.add("halted");
                }
            }
            (Kind::Mark { crashes: 1.. }, _) => self.add("suspects alone"),
            _ => {}
        }
    }

    /// Adds what another tally counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What must have happened: its name, how often it did, and the least for so many seeds.
    pub(crate) fn needs(&self, seeds: u64) -> Vec<(&'static str, u64, u64)> {
        let least = |least: u64| least * seeds / SEEDS;
        let points = Point::ALL.iter();
        let points = points.map(|(_, name)| (*name, self.sum(&[name]), least(100)));
        let needs = NEEDS.iter();
        let needs = needs.map(|(what, names, most)| (*what, self.sum(names), least(*most)));
        points.chain(needs).collect()
    }
}

/// Whether a run of so many seeds must have met everything.
pub(crate) const fn is_due(seeds: u64) -> bool {
    seeds >= SEEDS
}

/// What is being sent at a moment of a history.
struct Flights {
    partitions: Partitions,
    open: BTreeMap<(Process, Lane, Id), Option<String>>,
}

impl Flights {
    fn new(plan: &Plan) -> Self {
        let partitions = Partitions::new(plan.partitions).expect("the plan draws powers of two");
        let open = BTreeMap::new();
        Self { partitions, open }
    }

    /// Takes an event, and says what is remarkable about it.
    fn see(&mut self, entry: &Entry) -> Vec<&'static str> {
        let lane = entry.lane;
        match &entry.event {
            Event::Sent { process, id, key } => {
                self.open.insert((*process, lane, id.clone()), key.clone());
            }
            Event::Ended { process, id } | Event::Outcome { process, id, .. } => {
                self.open.remove(&(*process, lane, id.clone()));
            }
            Event::Granted {
                process, grants, ..
            } => {
                let taken = |partition| {
                    self.open.iter().any(|((other, at, id), key)| {
                        let text = key.as_deref().unwrap_or(id);
                        other != process && *at == lane && self.partitions.of(text) == partition
                    })
                };
                let taken = grants
                    .iter()
                    .filter(|one| one.abandoned && taken(one.partition));
                return vec!["taken over while sending"; taken.count()];
            }
            Event::DrainAsked { process } => {
                let mut open = self.open.keys();
                if open.any(|(other, ..)| other == process) {
                    return vec!["drains in flight"];
                }
            }
            _ => {}
        }
        Vec::new()
    }
}
