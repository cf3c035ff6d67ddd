//! Fetching: when, how much, and what to keep of a reply.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Bug, CallId, Command, Event, Machine, Settings, Time,
    held::Held,
    key::Hashed,
    work::{Fetching, RELEASED_MAX, Work, pause_after},
};
use crate::{
    Result,
    partition::Partition,
    store::{Body, FetchPartition, FetchRequest, Fetched, Pending, Verdict},
};

/// The least bytes that a fetch asks for, where there are as many: more than any message has, so that
/// none brings more than it asked for.
const BYTES_MIN: usize = 2 * 1024 * 1024;
/// The most rows asked of a partition that is not known to have any.
const PROBE_LIMIT: usize = 64;
/// How many rows that a call sets aside tell that there are more, at most: their partition is clogged.
const CLOGGED: usize = 512;
/// The least share of a fetch that a partition with many rows gets, while the others wait for the
/// next: a store passes over all that is held of each partition that it looks into.
const SHARE_MIN: usize = 250;
/// How many executions for each key tell how the keys of a partition go; of fewer, one that happened to
/// have none would count as slow. As many times the capacity tell of a partition that none were of.
const SAMPLE: usize = 4;
/// The most full keys that a request names.
const FULL_MAX: usize = 256;
/// The most keys that a request asks to release.
const HINTS_MAX: usize = 64;

impl Machine {
    /// How many more rows and bytes fit into memory, replies under way included.
    fn room(&self) -> (usize, usize) {
        let (rows, bytes) = self.buffered();
        let (asked_rows, asked_bytes) = self
            .fetches
            .values()
            .fold((0, 0), |(rows, bytes), ask| (rows + ask.0, bytes + ask.1));
        (
            self.settings.capacity().saturating_sub(rows + asked_rows),
            self.settings
                .max_buffered_bytes
                .saturating_sub(bytes + asked_bytes),
        )
    }

    /// When the next fetch is wanted, if there is room for one.
    ///
    /// Partitions that are clogged are fetched in calls of their own, which clear them and bring
    /// nothing, so that no other partition waits for them; such a call needs no room.
    pub(super) fn fetch_at(&self, now: Time) -> Option<Time> {
        let never = self.settings.rights_only || self.drain.is_some();
        if never || self.breaker.is_open() || !self.may_start(now) {
            return None;
        }
        let room = self.wants_rows();
        self.works
            .values()
            .filter(|work| can_fetch(work) && (work.clogged || room))
            .map(Work::poll_at)
            .min()
    }

    /// Whether there is room that is worth a fetch: for half of one, or any while nothing may run. A call has
    /// costs of its own.
    fn wants_rows(&self) -> bool {
        let (rows, bytes) = self.room();
        let idle = self
            .works
            .values()
            .all(|work| work.runnable.is_empty() && work.solos.is_empty());
        (rows >= self.settings.fetch.div_ceil(2) || (idle && rows > 0)) && bytes > 0
    }

    pub(super) fn fetch(&mut self, now: Time) -> Command {
        let call = CallId(self.number());
        let due = |work: &Work| can_fetch(work) && work.poll_at() <= now;
        let clears = self.works.values().any(|work| due(work) && work.clogged);
        let (limit, bytes) = if clears {
            (0, 0)
        } else {
            let (room, bytes) = self.room();
            let limit = room.min(self.settings.fetch);
            // As many as its rows may have of all: what another fetch beside it may bring needs bytes
            // too, also where this one takes the last of the rows.
            let all = self.settings.max_buffered_bytes;
            let share = all.saturating_mul(limit) / self.settings.capacity().max(1);
            (limit, share.max(BYTES_MIN).min(bytes))
        };
        let probe = PROBE_LIMIT.min(if clears { self.settings.fetch } else { limit });
        // Each fetch serves another partition first, and at most so many that have more than a few rows.
        let mut due: Vec<Partition> = self
            .circle(self.rotor)
            .filter(|(_, work)| due(work) && work.clogged == clears)
            .map(|(partition, _)| partition)
            .collect();
        let busy = |partition: &Partition| self.works.get(partition).is_some_and(|work| work.more);
        let most = limit.div_ceil(SHARE_MIN.min(self.settings.fetch.div_ceil(4)));
        let mut served: Vec<Partition> = due.iter().copied().filter(busy).collect();
        let all = served.len() <= most;
        served.truncate(most);
        if !clears {
            due.retain(|partition| served.contains(partition) || !busy(partition));
            let first = due.first().filter(|_| all);
            self.rotor = *first.or(served.last()).unwrap_or(&self.rotor);
        }
        let share = limit.div_ceil(served.len().max(1)).max(1);
        let mut partitions = Vec::with_capacity(due.len());
        let ask = Ask {
            call,
            now,
            ended: self.ended,
        };
        for partition in due {
            if let Some(work) = self.works.get_mut(&partition) {
                let part_limit = if work.more && !clears {
                    share
                } else {
                    probe.max(1)
                };
                partitions.push(ask.of(partition, work, part_limit, &self.settings));
            }
        }
        self.fetches.insert(call, (limit, bytes));
        Command::Fetch(
            call,
            FetchRequest {
                queue: self.settings.queue.clone(),
                partitions,
                limit,
                bytes,
            },
        )
    }

    /// Takes the answer to [`Command::Fetch`].
    pub fn fetched(&mut self, call: CallId, reply: Result<Fetched>, now: Time) {
        let clears = self.fetches.remove(&call).is_some_and(|ask| ask.0 == 0);
        let asked: Vec<Partition> = self
            .works
            .iter()
            .filter(|(_, work)| work.fetching.as_ref().is_some_and(|f| f.call == call))
            .map(|(partition, _)| *partition)
            .collect();
        let mut fetches: BTreeMap<Partition, Fetching> = asked
            .iter()
            .filter_map(|partition| {
                Some((*partition, self.works.get_mut(partition)?.fetching.take()?))
            })
            .collect();
        let fetched = match reply {
            Ok(fetched) => fetched,
            Err(error) => {
                self.fetch_failed(fetches, error.to_string(), now);
                return;
            }
        };
        let nothing = !clears
            && fetched.pending.is_empty()
            && fetched.aside.is_empty()
            && fetched.released.is_empty();
        self.poll_pause = if nothing {
            (self.poll_pause * 2).min(self.settings.poll_max)
        } else {
            self.settings.poll_min
        };
        // What was set aside hid what is behind it.
        let hid = fetched.aside.iter().map(|aside| aside.partition);
        let more: BTreeSet<Partition> = fetched.more.iter().copied().chain(hid).collect();
        self.schedule_polls(&asked, &more, now);
        for (partition, key) in fetched.released {
            if let Some(work) = self.works.get_mut(&partition)
                && let Some(fetching) = fetches.get_mut(&partition)
            {
                fetching.hinted.retain(|hinted| *hinted != key);
                work.released(key, now);
            }
        }
        let mut hints = Vec::new();
        // What was asked for and not released has nothing set aside any more, or something in front
        // that the sweep waits for.
        for (partition, fetching) in &fetches {
            if let Some(work) = self.works.get_mut(partition) {
                for key in &fetching.hinted {
                    work.aside.remove(key);
                }
                if !more.contains(partition) {
                    let keys = work.exhausted(&fetching.full);
                    hints.extend(keys.into_iter().map(|key| (*partition, Hashed::new(key))));
                }
            }
        }
        let mut counts: BTreeMap<Partition, usize> = BTreeMap::new();
        for aside in fetched.aside {
            if let Some(work) = self.works.get_mut(&aside.partition)
                && let Some(fetching) = fetches.get(&aside.partition)
            {
                *counts.entry(aside.partition).or_default() += aside.count;
                work.set_aside(&aside, now);
                // Nothing is in front of them any more, and nothing else would ask for them.
                let key = Hashed::new(aside.key);
                if fetching.cleared.contains(&key) && !fetching.closed.contains(&key) {
                    hints.push((aside.partition, key));
                }
            }
        }
        let many = CLOGGED.min(self.settings.fetch.div_ceil(2));
        for partition in asked {
            if let Some(work) = self.works.get_mut(&partition) {
                work.clogged = counts.get(&partition).is_some_and(|count| *count >= many);
            }
        }
        let count = counts.values().sum();
        if count > 0 {
            self.event(Event::SetAside { count });
        }
        for pending in fetched.pending {
            if let Some(fetching) = fetches.get(&pending.partition) {
                self.take(&pending, fetching, now);
            }
        }
        for (partition, key) in hints {
            if let Some(work) = self.works.get_mut(&partition) {
                work.hint(&key, now);
            }
        }
    }

    /// A fetch failed: what it was to release is asked for again.
    fn fetch_failed(&mut self, fetches: BTreeMap<Partition, Fetching>, reason: String, now: Time) {
        for (partition, fetching) in fetches {
            if let Some(work) = self.works.get_mut(&partition) {
                work.hints.extend(fetching.hinted);
                if fetching.sweep {
                    work.next_sweep = now;
                }
                work.fetch_failures = work.fetch_failures.saturating_add(1);
                work.next_poll = now + pause_after(work.fetch_failures);
                work.due = None;
            }
        }
        self.event(Event::StoreFailed {
            call: "fetch",
            reason,
        });
    }

    fn schedule_polls(&mut self, asked: &[Partition], more: &BTreeSet<Partition>, now: Time) {
        for partition in asked {
            if let Some(work) = self.works.get_mut(partition) {
                work.fetch_failures = 0;
                work.more = more.contains(partition);
                // A signal that came while the fetch was under way stays in force.
                if work.next_poll > now || work.more {
                    work.next_poll = if work.more {
                        now
                    } else {
                        now + self.poll_pause
                    };
                }
            }
        }
    }

    /// Takes a fetched row into memory.
    fn take(&mut self, pending: &Pending, fetching: &Fetching, now: Time) {
        let unfiltered = self.has(Bug::UnfilteredFetch);
        let advances = self.has(Bug::AdvancePastLateCommit);
        let ungated = self.has(Bug::NoKeyGate);
        let in_company = self.has(Bug::SuspectsInCompany);
        let capacity = self.settings.capacity();
        let max_crashes = self.settings.max_crashes;
        let halts = self.settings.policy == super::DeadLetterPolicy::HaltKey;
        let (partition, seq) = (pending.partition, pending.seq);
        let put_back = self.put_back(pending);
        let Some(work) = self.works.get_mut(&partition) else {
            return;
        };
        let late = work.highest.is_some_and(|highest| seq < highest);
        work.highest = work.highest.max(Some(seq));
        if work.handover.is_some() || work.rows.contains_key(&seq) || (advances && late) {
            return;
        }
        let key = pending.key.clone().map(Hashed::new);
        if let Some(key) = &key {
            let state = work.keys.get_mut(key);
            let full = state.is_some_and(|state| {
                let full = state.is_full();
                state.passed_over |= full;
                full
            });
            if full || (fetching.closed.contains(key) && !unfiltered) {
                work.more |= full;
                if full && let Some(ahead) = work.aside.get_mut(&key.key) {
                    *ahead += 1;
                }
                return;
            }
            work.caught_up(&key.key);
        }
        let verdict = match &pending.body {
            Body::Corrupt(reason) => Some(Verdict::Dead {
                reason: reason.clone(),
                halts: halts || pending.uncertain,
                uncertain: false,
            }),
            Body::Message(_) if pending.suspect && pending.crashes >= max_crashes => {
                Some(Verdict::Dead {
                    reason: format!(
                        "its process died, or lost the partition, {} times while it ran alone",
                        pending.crashes
                    ),
                    halts: true,
                    uncertain: true,
                })
            }
            Body::Message(_) => put_back,
        };
        let message = match &pending.body {
            Body::Message(message) => Some(message.clone()),
            Body::Corrupt(_) => None,
        };
        let attempt = pending.attempt;
        let mut held = Held::new(pending, key, message, now);
        held.doubtful |= work.doubt.sees(seq, work.cautious > 0);
        held.in_company = in_company;
        work.insert(seq, held, capacity);
        if ungated {
            work.reconsider(seq, true);
        }
        if let Some(verdict) = verdict {
            self.record(partition, seq, attempt, verdict, now);
        }
    }
}

fn can_fetch(work: &Work) -> bool {
    work.fetching.is_none() && work.handover.is_none()
}

/// One call of the store, as its partitions see it.
struct Ask {
    call: CallId,
    now: Time,
    /// How many executions have ended.
    ended: usize,
}

impl Ask {
    /// Asks for rows of one partition and notes what was asked.
    fn of(
        &self,
        partition: Partition,
        work: &mut Work,
        limit: usize,
        settings: &Settings,
    ) -> FetchPartition {
        let all = self.ended.wrapping_sub(work.paced_at);
        let own: usize = work.keys.values().map(|state| state.ended).sum();
        let enough = own >= work.keys.len() * SAMPLE || all >= settings.capacity() * SAMPLE;
        let sample = enough.then_some(all);
        if sample.is_some() {
            work.paced_at = self.ended;
        }
        let mut full = BTreeSet::new();
        for (key, state) in &mut work.keys {
            if let Some(all) = sample {
                state.pace(all, settings.capacity());
            }
            state.passed_over = state.is_full() && full.len() < FULL_MAX;
            if state.passed_over {
                full.insert(key.key.clone());
            }
        }
        // Rows of a full key are set aside when they fill the limit of their partition. What was
        // just released must not fill it, or it would go to and fro. The limit of the request holds
        // all the same.
        let came_back = |key| work.aside.get(key).is_some_and(|ahead| *ahead > 0);
        let limit = if full.iter().any(came_back) {
            limit.max(2 * RELEASED_MAX)
        } else {
            limit
        };
        let mut release = std::mem::take(&mut work.hints);
        let later: Vec<_> = release.iter().skip(HINTS_MAX).cloned().collect();
        for key in later {
            release.remove(&key);
            work.hints.insert(key);
        }
        let sweep = work.next_sweep <= self.now;
        if sweep {
            work.next_sweep = self.now + settings.poll_max;
        }
        // Set anew by the reply, or before by a signal.
        work.next_poll = Time::at(Duration::MAX);
        if work.due.is_some_and(|due| due <= self.now) {
            work.due = None;
        }
        let release: Vec<_> = release.into_iter().collect();
        work.fetching = Some(Fetching {
            call: self.call,
            full: full.clone(),
            hinted: release.clone(),
            sweep,
            closed: BTreeSet::new(),
            cleared: BTreeSet::new(),
        });
        FetchPartition {
            partition,
            epoch: work.epoch,
            limit,
            held: work.rows.keys().copied().collect(),
            full: full.into_iter().collect(),
            release,
            sweep,
        }
    }
}
