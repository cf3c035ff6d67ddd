//! The model store: rows in one map, every rule a scan, time a number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iobox_core::{
    message::OrderingKey,
    partition::Partition,
    store::{
        AcquireRequest, Acquired, Aside, Epoch, FetchPartition, FetchRequest, Fetched, Grant,
        InstanceId, ReleaseRequest, RenewRequest, Renewed, Seq, Settled, Settlement, State,
    },
};
use uuid::Uuid;

use crate::row::{Row, message};

type Place = (Partition, Seq);

/// Rows, owners, live instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<Place, Row>,
    /// The places of all rows but those that are done.
    live: BTreeSet<Place>,
    pub(crate) owners: BTreeMap<Partition, (Option<InstanceId>, i64)>,
    /// Partitions that were given back before what a dead owner may have executed was worked off.
    pub(crate) abandoned: BTreeSet<Partition>,
    /// When each instance started and expires.
    pub(crate) members: BTreeMap<InstanceId, (Duration, Duration)>,
    /// Whether the call that takes effect was given up long ago.
    pub(crate) late: bool,
    /// How many rows were ever set aside.
    pub(crate) aside: usize,
    next_seq: i64,
}

impl Store {
    pub(crate) fn new(partitions: u8) -> Self {
        Self {
            owners: (0..partitions)
                .map(|number| (Partition::new(number), (None, 0)))
                .collect(),
            ..Self::default()
        }
    }

    /// Draws a seq; a row may be put under it later, as a late commit is.
    pub(crate) fn draw(&mut self) -> Seq {
        self.next_seq += 1;
        Seq(self.next_seq)
    }

    pub(crate) fn put(&mut self, partition: u8, seq: Seq, id: &str, key: &str, now: Duration) {
        let partition = Partition::new(partition);
        let row = Row::new(partition, seq, message(id, key), now);
        self.rows.insert((partition, seq), row);
        self.live.insert((partition, seq));
    }

    pub(crate) fn enqueue(&mut self, partition: u8, id: &str, key: &str, now: Duration) {
        let seq = self.draw();
        self.put(partition, seq, id, key, now);
    }

    pub(crate) fn row(&self, id: &str) -> &Row {
        self.rows
            .values()
            .find(|row| row.id() == id)
            .unwrap_or_else(|| panic!("no row {id}"))
    }

    pub(crate) fn row_mut(&mut self, id: &str) -> &mut Row {
        self.rows
            .values_mut()
            .find(|row| row.id() == id)
            .unwrap_or_else(|| panic!("no row {id}"))
    }

    /// Lets the last owner of every partition be one that died.
    pub(crate) fn abandon(&mut self) {
        let dead = InstanceId::new(Uuid::from_u128(77));
        let owners = self.owners.values_mut();
        owners.for_each(|slot| *slot = (Some(dead), slot.1 + 1));
    }

    /// An operator discards a message, whatever is being done with it.
    pub(crate) fn discard(&mut self, id: &str) {
        let row = self.row_mut(id);
        row.state = State::Discarded;
        row.revision += 1;
    }

    pub(crate) fn count(&self, state: State) -> usize {
        self.rows.values().filter(|row| row.state == state).count()
    }

    pub(crate) fn is_current(&self, partition: Partition, epoch: Epoch) -> bool {
        self.owners
            .get(&partition)
            .is_some_and(|(owner, current)| owner.is_some() && *current == epoch.0)
    }

    pub(crate) fn is_owner(&self, partition: Partition, instance: InstanceId) -> bool {
        self.owners
            .get(&partition)
            .is_some_and(|(owner, _)| *owner == Some(instance))
    }

    /// The first row of each key of a partition that later ones must wait for.
    fn blockers(&self, partition: Partition) -> BTreeMap<&OrderingKey, Seq> {
        let mut first = BTreeMap::new();
        for row in self.of(partition).filter(|row| row.blocks()) {
            if let Some(key) = row.key() {
                first.entry(key).or_insert(row.seq);
            }
        }
        first
    }

    pub(crate) fn is_blocked(&self, row: &Row) -> bool {
        self.blockers_of(row).next().is_some()
    }

    /// The rows that block `row`.
    pub(crate) fn blockers_of(&self, row: &Row) -> impl Iterator<Item = &Row> {
        let (key, seq) = (row.key().cloned(), row.seq);
        self.of(row.partition)
            .take_while(move |other| other.seq < seq)
            .filter(move |other| key.is_some() && other.key() == key.as_ref() && other.blocks())
    }

    fn of(&self, partition: Partition) -> impl Iterator<Item = &Row> {
        self.live
            .range((partition, Seq(0))..=(partition, Seq(i64::MAX)))
            .map(|place| &self.rows[place])
    }

    pub(crate) fn renew(&mut self, request: &RenewRequest, now: Duration) -> Renewed {
        let known = self.members.get(&request.instance).map(|(start, _)| *start);
        if known.is_none() && !request.register {
            return Renewed::Gone;
        }
        let start = known.unwrap_or(now);
        self.members
            .insert(request.instance, (start, now + request.ttl));
        Renewed::Alive
    }

    pub(crate) fn acquire(&mut self, request: &AcquireRequest, now: Duration) -> Acquired {
        let me = request.instance;
        if self.members.get(&me).is_none_or(|(_, until)| *until <= now) {
            return Acquired::Gone;
        }
        self.members.retain(|_, (_, until)| *until > now);
        let mut ranked: Vec<_> = self
            .members
            .iter()
            .map(|(id, (start, _))| (*start, *id))
            .collect();
        ranked.sort_unstable();
        let rank = ranked.iter().position(|(_, id)| *id == me).unwrap();
        let (all, live) = (self.owners.len(), ranked.len());
        let share = all / live + usize::from(rank < all % live);
        let mut granted = Vec::new();
        let own = self.owners.values();
        let own = own.filter(|(owner, _)| *owner == Some(me)).count();
        let mut room = share.saturating_sub(own);
        for (partition, (owner, epoch)) in self.owners.clone() {
            let free = owner.is_none_or(|owner| !self.members.contains_key(&owner));
            let lost = owner == Some(me) && !request.held.contains(&(partition, Epoch(epoch)));
            if lost || (free && room > 0) {
                room -= usize::from(!lost);
                if owner.is_some() {
                    self.abandoned.insert(partition);
                }
                let slot = self.owners.get_mut(&partition).unwrap();
                *slot = (Some(me), slot.1 + 1);
                granted.push(Grant {
                    partition,
                    epoch: Epoch(slot.1),
                    abandoned: self.abandoned.contains(&partition),
                });
            }
        }
        Acquired::Share {
            share: u16::try_from(share).unwrap(),
            granted,
        }
    }

    pub(crate) fn release(&mut self, request: &ReleaseRequest) {
        for grant in &request.partitions {
            let slot = self.owners.get_mut(&grant.partition).unwrap();
            if *slot == (Some(request.instance), grant.epoch.0) {
                slot.0 = None;
                self.abandoned.remove(&grant.partition);
                if grant.abandoned {
                    self.abandoned.insert(grant.partition);
                }
            }
        }
        if request.leave {
            self.members.remove(&request.instance);
        }
    }

    pub(crate) fn settle(&mut self, settlements: &[Settlement], now: Duration) -> Vec<Settled> {
        let mut seen = BTreeSet::new();
        settlements
            .iter()
            .map(|settlement| {
                let place = (settlement.partition, settlement.seq);
                assert!(seen.insert(place), "one row twice in one settle");
                if !self.is_current(settlement.partition, settlement.epoch) {
                    return Settled::LeaseLost;
                }
                let Some(row) = self.rows.get_mut(&place) else {
                    return Settled::Superseded;
                };
                let settled = row.settle(settlement, now);
                if row.state == State::Done {
                    self.live.remove(&place);
                }
                settled
            })
            .collect()
    }

    pub(crate) fn fetch(&mut self, request: &FetchRequest, now: Duration) -> Fetched {
        let mut fetched = Fetched::default();
        for part in &request.partitions {
            if self.is_current(part.partition, part.epoch) {
                self.free_waiting(part, &mut fetched);
            }
        }
        let mut bytes = 0;
        for part in &request.partitions {
            let keys = self.scan(part, request, now, &mut bytes, &mut fetched);
            if self.is_current(part.partition, part.epoch) {
                self.set_aside(part, &keys, now, &mut fetched);
            }
        }
        fetched
    }

    fn free_waiting(&mut self, part: &FetchPartition, fetched: &mut Fetched) {
        let first: BTreeMap<OrderingKey, Seq> = self
            .blockers(part.partition)
            .into_iter()
            .map(|(key, seq)| (key.clone(), seq))
            .collect();
        // The keys with nothing in front of their waiting rows.
        let free: BTreeSet<&OrderingKey> = first
            .iter()
            .filter(|(_, seq)| self.rows[&(part.partition, **seq)].state == State::Waiting)
            .map(|(key, _)| key)
            .collect();
        let swept = free.iter().take(if part.sweep { 64 } else { 0 });
        let keys: BTreeSet<&OrderingKey> = part.release.iter().chain(swept.copied()).collect();
        for key in keys.into_iter().filter(|key| free.contains(key)) {
            let freed: Vec<Seq> = self
                .of(part.partition)
                .filter(|row| row.key() == Some(key) && row.blocks())
                .take_while(|row| row.state == State::Waiting)
                .take(256)
                .map(|row| row.seq)
                .collect();
            for seq in freed {
                let row = self.rows.get_mut(&(part.partition, seq)).unwrap();
                row.state = State::Pending;
                row.set_aside_late = false;
            }
            fetched.released.push((part.partition, key.clone()));
        }
    }

    fn scan(
        &self,
        part: &FetchPartition,
        request: &FetchRequest,
        now: Duration,
        bytes: &mut usize,
        fetched: &mut Fetched,
    ) -> BTreeSet<OrderingKey> {
        let blockers = self.blockers(part.partition);
        let (mut taken, mut crowd, mut more) = (0, 0, false);
        let (mut blocked, mut full) = (BTreeSet::new(), BTreeSet::new());
        for (looked, row) in self.due(part, now).enumerate() {
            if looked == part.limit * 2 {
                more = true;
                break;
            }
            let blocker = row.key().and_then(|key| blockers.get(key));
            let fits = *bytes + row.message.size() <= request.bytes || fetched.pending.is_empty();
            if blocker.is_some_and(|first| *first < row.seq) {
                blocked.extend(row.key().cloned());
            } else if row.key().is_some_and(|key| part.full.contains(key)) {
                crowd += 1;
                full.extend(row.key().cloned());
            } else if taken < part.limit && fetched.pending.len() < request.limit && fits {
                taken += 1;
                *bytes += row.message.size();
                fetched.pending.push(row.pending(now));
            } else {
                more = true;
                if request.limit > 0 {
                    break;
                }
            }
        }
        if more {
            fetched.more.push(part.partition);
        }
        if crowd >= part.limit.max(1) {
            blocked.append(&mut full);
        }
        blocked
    }

    /// The rows that are due and not held, in order.
    fn due(&self, part: &FetchPartition, now: Duration) -> impl Iterator<Item = &Row> {
        self.of(part.partition).filter(move |row| {
            row.is_open() && row.due.is_none_or(|due| due <= now) && !part.held.contains(&row.seq)
        })
    }

    fn set_aside(
        &mut self,
        part: &FetchPartition,
        keys: &BTreeSet<OrderingKey>,
        now: Duration,
        fetched: &mut Fetched,
    ) {
        for key in keys {
            let seqs: Vec<Seq> = self
                .due(part, now)
                .filter(|row| row.key() == Some(key))
                .filter(|row| part.full.contains(key) || self.is_blocked(row))
                .map(|row| row.seq)
                .collect();
            for seq in &seqs {
                let row = self.rows.get_mut(&(part.partition, *seq)).unwrap();
                row.state = State::Waiting;
                row.due = None;
                row.set_aside_late = self.late;
            }
            self.aside += seqs.len();
            fetched.aside.extend(seqs.first().map(|first| Aside {
                partition: part.partition,
                key: key.clone(),
                first: *first,
                count: seqs.len(),
            }));
        }
    }
}
