//! The machine: inputs in, commands out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use super::{
    BreakerState, Bug, CallId, Command, Event, RunId, Settings, Time, breaker::Breaker,
    drain::Drain, execute::Flight, held::Stage, member::Member, sent::Sent, settle::SettleCall,
    solo::Solo, work::Work,
};
use crate::{
    message::IdSource,
    partition::Partition,
    store::{Epoch, Grant, Hint, InstanceId, Seq},
};

/// Decides the next step of each message of the partitions that it owns.
///
/// A driver calls the input methods with the time, then [`poll`](Self::poll) until it returns
/// `None`, then waits for the next input or for [`deadline`](Self::deadline).
#[cfg_attr(iobox_bugs, derive(Clone))]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) random: fastrand::Rng,
    pub(super) member: Member,
    pub(super) works: BTreeMap<Partition, Work>,
    /// Executions under way, also of partitions that were lost.
    pub(super) flights: BTreeMap<RunId, Flight>,
    /// Partitions that were granted while executions of an earlier grant are under way, and until
    /// when those are waited for.
    pub(super) stragglers: BTreeMap<Partition, Time>,
    /// Fetches under way: the rows and bytes that each may bring.
    pub(super) fetches: BTreeMap<CallId, (usize, usize)>,
    pub(super) settles: BTreeMap<CallId, SettleCall>,
    /// Partitions to release.
    pub(super) leaving: Vec<Grant>,
    pub(super) releasing: Option<Vec<Grant>>,
    pub(super) release_at: Time,
    pub(super) release_failures: u32,
    pub(super) breaker: Breaker,
    pub(super) solo: Option<Solo>,
    pub(super) solo_at: Time,
    /// The last one that ran alone.
    pub(super) solo_last: (Partition, Seq),
    /// Rows that were unavailable and wait for a moment, by the time they are ready.
    pub(super) paused: BTreeSet<(Time, Partition, Seq)>,
    /// How many executions have ended.
    pub(super) ended: usize,
    /// The batches under way.
    pub(super) sent: Sent,
    pub(super) drain: Option<Drain>,
    pub(super) poll_pause: Duration,
    /// The last partition with many rows that a fetch served: the next one begins behind it.
    pub(super) rotor: Partition,
    /// The last partition of the last settle: the next one begins behind it.
    pub(super) settled_last: Partition,
    /// The partition that executed last.
    pub(super) served: Partition,
    pub(super) events: VecDeque<Event>,
    pub(super) next_number: u64,
}

impl Machine {
    /// A machine that owns nothing yet. `ids` and `random` are all the randomness it uses.
    #[must_use]
    pub fn new(
        settings: Settings,
        ids: Arc<dyn IdSource>,
        random: fastrand::Rng,
        now: Time,
    ) -> Self {
        let id = InstanceId::new(ids.draw());
        Self {
            poll_pause: settings.poll_min,
            breaker: Breaker::new(settings.breaker),
            sent: Sent::new(settings.execute_timeout),
            settings,
            ids,
            random,
            member: Member::new(id, now),
            works: BTreeMap::new(),
            flights: BTreeMap::new(),
            stragglers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            settles: BTreeMap::new(),
            leaving: Vec::new(),
            releasing: None,
            release_at: now,
            release_failures: 0,
            solo: None,
            solo_at: now,
            solo_last: (Partition::new(u8::MAX), Seq(i64::MAX)),
            paused: BTreeSet::new(),
            ended: 0,
            drain: None,
            rotor: Partition::new(u8::MAX),
            settled_last: Partition::new(u8::MAX),
            served: Partition::new(u8::MAX),
            events: VecDeque::new(),
            next_number: 0,
        }
    }

    /// The next command, or `None` when there is nothing to do until the next input or
    /// [`deadline`](Self::deadline).
    pub fn poll(&mut self, now: Time) -> Option<Command> {
        self.expire(now);
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.renew_at()) {
            return Some(self.renew(now));
        }
        if due(self.release_due(now)) {
            return Some(self.release(now));
        }
        if due(self.probe_at()) {
            return Some(self.probe());
        }
        if due(self.settle_at(now)) {
            return Some(self.settle(now));
        }
        if let Some(command) = self.execute(now) {
            return Some(command);
        }
        // Probes and marks that the executor asked for go out at once.
        if due(self.probe_at()) {
            return Some(self.probe());
        }
        if due(self.settle_at(now)) {
            return Some(self.settle(now));
        }
        if due(self.fetch_at(now)) {
            return Some(self.fetch(now));
        }
        if due(self.acquire_at(now)) {
            return Some(self.acquire());
        }
        None
    }

    /// When [`poll`](Self::poll) has something to do even if nothing happens, or `None`.
    #[must_use]
    pub fn deadline(&self, now: Time) -> Option<Time> {
        [
            self.renew_at(),
            self.release_due(now),
            self.probe_at(),
            self.settle_at(now),
            self.fetch_at(now),
            self.acquire_at(now),
            self.execute_at(now),
            self.expire_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What happened since the last call, oldest first.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.drain(..)
    }

    /// Takes a hint that there may be work.
    pub fn wake(&mut self, hint: Hint, now: Time) {
        self.poll_pause = self.settings.poll_min;
        let at = match hint {
            Hint::Wake => now,
            Hint::Enqueued => now + self.settings.poll_min,
        };
        for work in self.works.values_mut() {
            work.next_poll = work.next_poll.min(at);
        }
    }

    /// Whether nothing is in memory, in flight or known to be due, so that the driver may sleep
    /// until it is woken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.drain.is_none()
            && !self.works.is_empty()
            && self.works.values().all(|work| {
                work.rows.is_empty()
                    && !work.more
                    && work.fetching.is_none()
                    && work.hints.is_empty()
            })
    }

    /// The instance under which it is registered.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.member.id
    }

    /// The partitions that it owns.
    pub fn partitions(&self) -> impl Iterator<Item = (Partition, Epoch)> + '_ {
        self.works
            .iter()
            .map(|(partition, work)| (*partition, work.epoch))
    }

    /// How many executions are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How many rows and bytes of messages are in memory.
    #[must_use]
    pub fn buffered(&self) -> (usize, usize) {
        self.works.values().fold((0, 0), |(rows, bytes), work| {
            (rows + work.rows.len(), bytes + work.bytes)
        })
    }

    /// Whether messages are sent.
    #[must_use]
    pub const fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// The age of the oldest message in memory.
    #[must_use]
    pub fn oldest_age(&self, now: Time) -> Option<Duration> {
        self.works
            .values()
            .flat_map(|work| work.rows.values())
            .filter(|held| held.message.is_some())
            .map(|held| held.age_at_fetch + (now - held.fetched_at))
            .max()
    }

    /// Whether the instance counts as alive for long enough to start an execution.
    pub(super) fn may_start(&self, now: Time) -> bool {
        let execution = if self.settings.spans_renewals {
            Duration::ZERO
        } else {
            self.settings.execute_timeout
        };
        let span = execution + self.settings.settle_timeout;
        self.member.covers(now, span, self.settings.ttl)
    }

    /// The work on its partitions in a circle that begins behind `last`, so that each has its turn.
    pub(super) fn circle(&self, last: Partition) -> impl Iterator<Item = (Partition, &Work)> {
        let behind = (Bound::Excluded(last), Bound::Unbounded);
        let circle = self.works.range(behind).chain(self.works.range(..=last));
        circle.map(|(partition, work)| (*partition, work))
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Makes what only waited for the time ready.
    fn expire(&mut self, now: Time) {
        while let Some((at, partition, seq)) = self.paused.first().copied() {
            if at > now {
                break;
            }
            self.paused.pop_first();
            let ungated = self.has(Bug::NoKeyGate);
            if let Some(work) = self.works.get_mut(&partition)
                && let Some(held) = work.rows.get_mut(&seq)
                && held.stage == Stage::Paused
            {
                held.stage = Stage::Ready;
                work.reconsider(seq, ungated);
            }
        }
        self.expire_stragglers(now);
        self.expire_handovers(now);
        self.suspend(now);
    }

    /// When [`expire`](Self::expire) has something to do.
    fn expire_at(&self) -> Option<Time> {
        let paused = self.paused.first().map(|(at, ..)| *at);
        let handover = self.works.values().filter_map(|work| work.handover).min();
        [
            paused,
            handover,
            self.stragglers_at(),
            self.drain_at(),
            self.suspend_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("instance", &self.member.id)
            .field("partitions", &self.works.len())
            .field("in_flight", &self.flights.len())
            .field("breaker", &self.breaker.state())
            .finish_non_exhaustive()
    }
}
