//! The watch: what must hold at every moment of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iobox_core::{
    dispatch::{BreakerState, CallId, Command, Machine, Settings},
    message::OrderingKey,
    partition::Partition,
    store::{Epoch, Renewed, Seq, Settlement, State},
};

use crate::{
    rig::{Reply, ms},
    row::Row,
    store::Store,
};

/// An execution under way, as the broker sees it.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) node: usize,
    pub(crate) id: String,
    pub(crate) key: Option<OrderingKey>,
    pub(crate) partition: Partition,
}

/// What one node has under way.
#[derive(Debug, Default)]
struct Pending {
    fetches: BTreeMap<CallId, Vec<(Partition, Epoch)>>,
    settles: BTreeMap<CallId, Vec<Settlement>>,
    /// Settlements whose reply was lost.
    repeats: BTreeMap<(Partition, i64, Seq), Settlement>,
    renewing: Option<Duration>,
    renewed: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Watch {
    settings: Settings,
    nodes: BTreeMap<usize, Pending>,
    flights: BTreeMap<u64, Flight>,
    number: u64,
    /// Ids that the broker took, and the last of each key.
    seen: BTreeSet<String>,
    last: BTreeMap<OrderingKey, Seq>,
    /// Messages with a reason to be dead.
    pub(crate) may_die: BTreeSet<String>,
    /// Whether the clock of the store jumped ahead, so that two owners of a partition may overlap.
    pub(crate) overlap: bool,
}

impl Watch {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            flights: BTreeMap::new(),
            number: 0,
            seen: BTreeSet::new(),
            last: BTreeMap::new(),
            may_die: BTreeSet::new(),
            overlap: false,
        }
    }

    /// A process ended.
    pub(crate) fn ended(&mut self, node: usize) {
        self.nodes.remove(&node);
    }

    pub(crate) fn is_taken(&self, id: &str) -> bool {
        self.seen.contains(id)
    }

    /// A machine came to rest.
    pub(crate) fn rested(&self, node: usize, machine: &Machine) {
        let (rows, bytes) = machine.buffered();
        let ahead = 2 * self.settings.fetch;
        let capacity = self.settings.max_in_flight + self.settings.batch + ahead;
        assert!(
            rows <= capacity,
            "node {node} has {rows} rows, room for {capacity}"
        );
        assert!(bytes <= self.settings.max_buffered_bytes + 1_000);
        assert!(machine.in_flight() <= self.settings.max_in_flight);
    }

    pub(crate) fn issued(
        &mut self,
        node: usize,
        machine: &Machine,
        command: &Command,
        now: Duration,
        draining: bool,
    ) {
        let pending = self.nodes.entry(node).or_default();
        let new = matches!(
            command,
            Command::Fetch(..) | Command::Execute(_) | Command::Acquire(_)
        );
        assert!(!(draining && new), "{command:?} while draining");
        if machine.breaker() == BreakerState::Open {
            let sends = matches!(command, Command::Fetch(..) | Command::Execute(_));
            assert!(!sends, "{command:?} while the breaker is open");
        }
        match command {
            Command::Renew(_) => {
                assert!(pending.renewing.replace(now).is_none(), "two renewals");
            }
            Command::Fetch(call, request) => {
                let parts: Vec<_> = request
                    .partitions
                    .iter()
                    .map(|part| (part.partition, part.epoch))
                    .collect();
                for other in pending.fetches.values().flatten() {
                    assert!(!parts.contains(other), "two fetches of {other:?}");
                }
                let held: usize = request.partitions.iter().map(|part| part.held.len()).sum();
                let rows = machine.buffered().0;
                assert!(held <= rows);
                if machine.partitions().count() == parts.len() {
                    assert_eq!(held, rows, "a fetch names exactly what is in memory");
                }
                pending.fetches.insert(*call, parts);
            }
            Command::Settle(call, settlements) => {
                assert!(settlements.len() <= self.settings.batch);
                for settlement in settlements {
                    let busy = pending.settles.values().flatten();
                    let two = busy.clone().any(|other| {
                        (other.partition, other.epoch) == (settlement.partition, settlement.epoch)
                    });
                    assert!(!two, "two settles of {}", settlement.partition);
                    let place = (settlement.partition, settlement.epoch.0, settlement.seq);
                    if let Some(first) = pending.repeats.remove(&place) {
                        assert_eq!(&first, settlement, "repeated unchanged");
                    }
                }
                pending.settles.insert(*call, settlements.clone());
            }
            Command::Execute(batch) => {
                assert!(batch.len() <= self.settings.batch);
                let renewed = pending.renewed.expect("executes without a lease");
                let span = self.settings.execute_timeout + self.settings.settle_timeout;
                assert!(
                    now + span <= renewed + self.settings.ttl,
                    "beyond the lease"
                );
            }
            Command::Acquire(_) | Command::Release(_) | Command::Probe => {}
        }
    }

    /// A reply arrives at a node.
    pub(crate) fn answered(&mut self, node: usize, reply: &Reply) {
        let pending = self.nodes.entry(node).or_default();
        match reply {
            Reply::Renewed(reply) => {
                let sent = pending.renewing.take();
                match reply {
                    Ok(Renewed::Alive) => pending.renewed = pending.renewed.max(sent),
                    Ok(Renewed::Gone) => pending.renewed = None,
                    Err(_) => {}
                }
            }
            Reply::Fetched(call, _) => {
                pending.fetches.remove(call);
            }
            Reply::Settled(call, reply) => {
                let settlements = pending.settles.remove(call).unwrap_or_default();
                if reply.is_err() {
                    for settlement in settlements {
                        let place = (settlement.partition, settlement.epoch.0, settlement.seq);
                        pending.repeats.insert(place, settlement);
                    }
                }
            }
            Reply::Acquired(_) | Reply::Released(_) | Reply::Probed(_) => {}
        }
    }

    /// An execution starts. Returns its number.
    pub(crate) fn started(
        &mut self,
        flight: Flight,
        machine: &Machine,
        store: &Store,
        now: Duration,
    ) -> u64 {
        let row = store.row(&flight.id);
        // The store may have granted it again under an epoch that the owner does not know yet: it is
        // still nobody else's.
        let mut known = machine.partitions().map(|(partition, _)| partition);
        let current = known.any(|partition| partition == flight.partition)
            && store.is_owner(flight.partition, machine.instance());
        assert!(
            current || self.overlap,
            "{} starts without the lease at {now:?}",
            flight.id
        );
        if current {
            // A late fetch may set a row aside that its caller has in memory since: its own order
            // holds, and what it settles applies.
            let late = |row: &Row| row.set_aside_late && row.state == State::Waiting;
            assert!(
                row.is_open() || late(row),
                "{} runs and is {:?}",
                flight.id,
                row.state
            );
            assert!(
                store.blockers_of(row).all(late),
                "{} runs and is blocked at {now:?}",
                flight.id
            );
            let distant = row.due.is_some_and(|due| due > now + ms(60_000));
            assert!(!distant);
        }
        for other in self.flights.values() {
            let same = other.id == flight.id || (flight.key.is_some() && other.key == flight.key);
            assert!(
                !same || self.overlap,
                "{} and {} fly together at {now:?}, of nodes {} and {}",
                other.id,
                flight.id,
                other.node,
                flight.node
            );
        }
        self.number += 1;
        self.flights.insert(self.number, flight);
        self.number
    }

    pub(crate) fn landed(&mut self, flight: u64) {
        self.flights.remove(&flight);
    }

    /// The broker takes a message.
    pub(crate) fn taken(&mut self, id: &str, store: &Store) {
        if !self.seen.insert(id.to_owned()) {
            return;
        }
        let row = store.row(id);
        if let Some(key) = row.key() {
            let last = self.last.entry(key.clone()).or_insert(Seq(0));
            assert!(*last < row.seq, "{id} comes after a later one of its key");
            *last = row.seq;
        }
    }
}
