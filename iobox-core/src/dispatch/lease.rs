//! Leases: registering, renewing, acquiring, handing over, losing.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{
    Bug, Command, Event, Machine, Time,
    doubt::Doubt,
    work::{Work, pause_after},
};
use crate::{
    Result,
    partition::Partition,
    store::{AcquireRequest, Acquired, Grant, InstanceId, ReleaseRequest, RenewRequest, Renewed},
};

impl Machine {
    pub(super) fn renew_at(&self) -> Option<Time> {
        let wanted = !self.member.is_leaving() && self.member.renewing.is_none();
        wanted.then_some(self.member.next_renew)
    }

    pub(super) fn renew(&mut self, now: Time) -> Command {
        self.member.renewing = Some((self.member.id, now));
        Command::Renew(RenewRequest {
            queue: self.settings.queue.clone(),
            instance: self.member.id,
            ttl: self.settings.ttl,
            register: !self.member.registered,
            in_flight: u32::try_from(self.flights.len()).unwrap_or(u32::MAX),
        })
    }

    /// Takes the answer to [`Command::Renew`].
    pub fn renewed(&mut self, reply: Result<Renewed>, now: Time) {
        let Some((id, sent)) = self.member.renewing.take() else {
            return;
        };
        if id != self.member.id {
            return;
        }
        match reply {
            Ok(Renewed::Alive) if self.member.may_have_been_gone(now, self.settings.ttl) => {
                self.drop_everything();
                self.member.leaves = true;
            }
            Ok(Renewed::Alive) => {
                let first = !self.member.registered;
                self.member.renewed(sent);
                self.member.next_renew = sent + self.settings.renew_interval();
                if first {
                    self.member.next_acquire = now;
                }
            }
            Ok(Renewed::Gone) => self.start_over(now),
            Err(error) => {
                self.member.unanswered();
                let pause =
                    pause_after(self.member.renew_failures).min(self.settings.renew_interval());
                self.member.next_renew = now + pause;
                self.event(Event::StoreFailed {
                    call: "renew",
                    reason: error.to_string(),
                });
            }
        }
    }

    /// The instance is gone: drop everything and register under a new id.
    fn start_over(&mut self, now: Time) {
        self.drop_everything();
        self.member = self.member.under(InstanceId::new(self.ids.draw()), now);
        self.member.away = self.is_suspended(now);
        if let Some(drain) = &mut self.drain {
            // Nothing is left to give back, and nothing to come back for.
            drain.left = true;
            self.member.away = true;
        }
    }

    /// Drops what the instance had, which is or may be others' now.
    fn drop_everything(&mut self) {
        self.event(Event::InstanceGone);
        let partitions: Vec<_> = self.works.keys().copied().collect();
        for partition in partitions {
            self.lose(partition);
        }
        self.leaving.clear();
        if let Some(releasing) = &mut self.releasing {
            releasing.clear();
        }
    }

    pub(super) fn acquire_at(&self, now: Time) -> Option<Time> {
        let wanted = self.member.registered
            && !self.member.is_leaving()
            && self.member.acquiring.is_none()
            && self.drain.is_none()
            && !self.is_suspended(now)
            && self.member.covers(now, Duration::ZERO, self.settings.ttl);
        wanted.then_some(self.member.next_acquire)
    }

    pub(super) fn acquire(&mut self) -> Command {
        self.member.acquiring = Some(self.member.id);
        // What is being given back counts until the store has it back, unless it was granted again
        // meanwhile.
        let releasing = self.releasing.iter().flatten();
        let mut held: BTreeMap<_, _> = releasing
            .chain(&self.leaving)
            .map(|grant| (grant.partition, grant.epoch))
            .collect();
        let works = self.works.iter();
        held.extend(works.map(|(partition, work)| (*partition, work.epoch)));
        Command::Acquire(AcquireRequest {
            queue: self.settings.queue.clone(),
            instance: self.member.id,
            held: held.into_iter().collect(),
        })
    }

    /// Takes the answer to [`Command::Acquire`].
    pub fn acquired(&mut self, reply: Result<Acquired>, now: Time) {
        // What was granted to an instance that is gone is not this one's, and free for everybody.
        if self.member.acquiring.take() != Some(self.member.id) {
            return;
        }
        let renew = self.settings.renew_interval();
        match reply {
            Ok(Acquired::Share { share, granted }) => {
                self.member.share = Some(share);
                for grant in &granted {
                    // Under its old epoch it can no longer be given back.
                    self.leaving.retain(|old| old.partition != grant.partition);
                    if self.member.is_leaving() {
                        self.leaving.push(*grant);
                        continue;
                    }
                    let (cautious, doubt) = if grant.abandoned {
                        let cautious = self.settings.max_in_flight + self.settings.batch;
                        (cautious, Doubt::after_death(self.settings.capacity()))
                    } else {
                        (0, Doubt::default())
                    };
                    self.lose(grant.partition);
                    self.works
                        .insert(grant.partition, Work::new(grant, cautious, doubt, now));
                    self.await_stragglers(grant.partition, now);
                    if self.drain.is_some() {
                        // Back at once, or when what runs of an earlier grant has ended.
                        self.start_handover(grant.partition, now);
                    }
                    self.poll_pause = self.settings.poll_min;
                    self.event(Event::Acquired {
                        partition: grant.partition,
                        abandoned: grant.abandoned,
                    });
                }
                self.hand_over(usize::from(share), now);
                let short = self.works.len() < usize::from(share);
                self.member.next_acquire = now + if short { renew / 4 } else { renew };
            }
            Ok(Acquired::Gone) => {
                // Expired but perhaps not deleted: the renewal finds out.
                self.member.next_renew = now;
                self.member.next_acquire = now + renew / 4;
            }
            Err(error) => {
                self.member.next_acquire = now + renew / 4;
                self.event(Event::StoreFailed {
                    call: "acquire",
                    reason: error.to_string(),
                });
            }
        }
    }

    /// Starts to hand over what is beyond the share: what was granted first, of those the highest
    /// partition. What the store does not know any more as held by this instance, since another one
    /// has or had its id, is older than what it granted in its stead.
    fn hand_over(&mut self, share: usize, now: Time) {
        let staying = self
            .works
            .values()
            .filter(|work| work.handover.is_none())
            .count();
        let mut surplus: Vec<(Time, Reverse<Partition>)> = self
            .works
            .iter()
            .filter(|(_, work)| work.handover.is_none())
            .map(|(partition, work)| (work.granted, Reverse(*partition)))
            .collect();
        surplus.sort_unstable();
        surplus.truncate(staying.saturating_sub(share));
        for (_, Reverse(partition)) in surplus {
            self.start_handover(partition, now);
        }
    }

    /// Stops new executions of a partition; it is released when it is quiet.
    pub(super) fn start_handover(&mut self, partition: Partition, now: Time) {
        let longest = self.settings.execute_timeout + self.settings.settle_timeout;
        let deadline = match &self.drain {
            Some(drain) => drain.deadline,
            None => now + longest + self.settings.grace,
        };
        if let Some(work) = self.works.get_mut(&partition) {
            work.handover = Some(work.handover.map_or(deadline, |at| at.min(deadline)));
        }
        self.drop_idle_rows(partition, now);
    }

    /// Moves partitions that are quiet, or that took too long, to the list to release.
    pub(super) fn expire_handovers(&mut self, now: Time) {
        let forget = self.has(Bug::DrainForgets);
        let done: Vec<_> = self
            .works
            .iter()
            .filter(|(partition, work)| {
                let quiet = work.is_quiet() && !self.has_stragglers(**partition);
                work.handover
                    .is_some_and(|deadline| deadline <= now || quiet || forget)
            })
            .map(|(partition, work)| {
                let grant = Grant {
                    partition: *partition,
                    epoch: work.epoch,
                    // What did not end, and what ended and is not recorded, is as that of a dead owner.
                    abandoned: work.cautious > 0
                        || work.doubt.is_left(work.more)
                        || !work.is_quiet()
                        || self.has_stragglers(*partition),
                };
                (grant, work.busy)
            })
            .collect();
        for (grant, busy) in done {
            let partition = grant.partition;
            if busy > 0 {
                self.event(Event::Stuck {
                    partition,
                    count: busy,
                });
            }
            self.forget(partition);
            self.leaving.push(grant);
            self.event(Event::Released { partition });
        }
    }

    pub(super) fn release_due(&self, now: Time) -> Option<Time> {
        if self.releasing.is_some() {
            return None;
        }
        if !self.leaving.is_empty() || self.wants_to_leave(now) {
            return Some(self.release_at);
        }
        // At the end of its grace a drain leaves whatever is still under way.
        let drain = self.drain.as_ref()?;
        (!drain.left && !self.member.away).then(|| self.release_at.max(drain.deadline))
    }

    pub(super) fn release(&mut self, now: Time) -> Command {
        let leave = self.wants_to_leave(now);
        let partitions = std::mem::take(&mut self.leaving);
        self.releasing = Some(partitions.clone());
        if leave {
            self.member.away = true;
        }
        Command::Release(ReleaseRequest {
            queue: self.settings.queue.clone(),
            instance: self.member.id,
            partitions,
            leave,
        })
    }

    /// Takes the answer to [`Command::Release`].
    pub fn released(&mut self, reply: Result<()>, now: Time) {
        let Some(mut partitions) = self.releasing.take() else {
            return;
        };
        match reply {
            Ok(()) => {
                self.release_failures = 0;
                self.release_at = now;
                if self.member.away {
                    self.left(now);
                }
            }
            Err(error) => {
                self.release_failures = self.release_failures.saturating_add(1);
                self.release_at = now + pause_after(self.release_failures);
                if self.member.away && self.drain.is_none() {
                    // It may have left, or may leave later when the call arrives after all: nothing
                    // is ever done under that id again. What it still has falls free with it.
                    self.left(now);
                } else {
                    self.leaving.append(&mut partitions);
                    // Not gone yet: still renewing, and asking again. One that was told meanwhile that it
                    // is gone has left.
                    self.member.away = self.drain.as_ref().is_some_and(|drain| drain.left);
                }
                self.event(Event::StoreFailed {
                    call: "release",
                    reason: error.to_string(),
                });
            }
        }
    }

    /// The instance left the queue.
    fn left(&mut self, now: Time) {
        if let Some(drain) = &mut self.drain {
            drain.left = true;
            return;
        }
        let id = InstanceId::new(self.ids.draw());
        self.member = self.member.under(id, now);
        // Away until the breaker closes.
        self.member.away = self.breaker.is_open();
    }

    /// Drops a partition that another instance has.
    pub(super) fn lose(&mut self, partition: Partition) {
        if self.works.contains_key(&partition) {
            self.forget(partition);
            self.event(Event::LeaseLost { partition });
        }
    }

    /// Drops everything in memory of a partition; executions under way end unrecorded.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.works.remove(&partition);
        self.paused.retain(|(_, other, _)| *other != partition);
        if self
            .solo
            .as_ref()
            .is_some_and(|solo| solo.partition == partition)
        {
            self.solo = None;
        }
    }

    /// When the breaker has been open for so long that others should have the partitions.
    pub(super) fn suspend_at(&self) -> Option<Time> {
        let opened = self.breaker.opened_at()?;
        let wanted = self.drain.is_none()
            && !self.member.away
            && self.works.values().any(|work| work.handover.is_none());
        wanted.then(|| opened + self.settings.ttl * 3)
    }

    pub(super) fn suspend(&mut self, now: Time) {
        if self.suspend_at().is_some_and(|at| at <= now) {
            let partitions: Vec<_> = self.works.keys().copied().collect();
            for partition in partitions {
                self.start_handover(partition, now);
            }
            self.expire_handovers(now);
        }
    }

    /// Whether the instance's own row should go: at the end of a drain, when the breaker has been open for
    /// three leases, or when it may have come back without what it had.
    fn wants_to_leave(&self, now: Time) -> bool {
        if self.member.away {
            return false;
        }
        if self.member.leaves {
            return true;
        }
        if let Some(drain) = &self.drain {
            // A registration that comes after the leave would stay until it expires.
            let registering = self.member.renewing.is_some() && !self.member.registered;
            let quiet = self.works.is_empty()
                && self.flights.is_empty()
                && self.member.acquiring.is_none()
                && !registering;
            return !drain.left && (quiet || drain.deadline <= now);
        }
        self.is_suspended(now)
            && self.member.registered
            && self.works.is_empty()
            && self.flights.is_empty()
            && self.member.acquiring.is_none()
    }

    /// Whether the breaker has been open for three leases.
    fn is_suspended(&self, now: Time) -> bool {
        self.breaker
            .opened_at()
            .is_some_and(|at| now - at >= self.settings.ttl * 3)
    }
}
