//! Leases of the in-memory store.

use std::time::Duration;

use super::table::{Member, Slot, Table};
use crate::{
    dispatch::Bug,
    partition::Partition,
    store::{AcquireRequest, Acquired, Epoch, Grant, ReleaseRequest, RenewRequest, Renewed},
};

impl Table {
    pub(super) fn renew(&mut self, request: &RenewRequest, now: Duration) -> Renewed {
        let known = self.members.get(&request.instance).copied();
        let started = match (known, request.register) {
            (Some(member), _) => member.started,
            (None, true) => now,
            (None, false) => return Renewed::Gone,
        };
        if known.is_some() && self.has(Bug::RenewalIgnored) {
            return Renewed::Alive;
        }
        self.members.insert(
            request.instance,
            Member {
                started,
                expires: now.saturating_add(request.ttl),
                in_flight: request.in_flight,
            },
        );
        Renewed::Alive
    }

    pub(super) fn acquire(&mut self, request: &AcquireRequest, now: Duration) -> Acquired {
        let alive = |member: &Member| member.expires > now;
        if !self.members.get(&request.instance).is_some_and(alive) {
            return Acquired::Gone;
        }
        let now = now + self.skew_of(request);
        let alive = |member: &Member| member.expires > now;
        self.members
            .retain(|id, member| *id == request.instance || alive(member));
        let mut ranked: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| (member.started, *id))
            .collect();
        ranked.sort_unstable();
        let rank = ranked
            .iter()
            .position(|(_, id)| *id == request.instance)
            .unwrap_or_default();
        let partitions = self.slots.len();
        let share = partitions / ranked.len() + usize::from(rank < partitions % ranked.len());
        let reclaims = !self.has(Bug::LeaseNeverReclaimed);
        let raise = i64::from(!self.has(Bug::TakeoverKeepsEpoch));
        let mut granted = Vec::new();
        let lost = |slot: &Slot, partition: &Partition| {
            slot.owner == Some(request.instance)
                && !request.held.contains(&(*partition, slot.epoch))
        };
        let slots = self.slots.values();
        let owned = slots.filter(|slot| slot.owner == Some(request.instance));
        let mut room = share.saturating_sub(owned.count());
        for (partition, slot) in &mut self.slots {
            let free = slot
                .owner
                .is_none_or(|owner| reclaims && !self.members.contains_key(&owner));
            let again = lost(slot, partition);
            if again || (free && room > 0) {
                room -= usize::from(!again);
                let abandoned = slot.abandoned || slot.owner.is_some();
                slot.abandoned = abandoned;
                slot.owner = Some(request.instance);
                slot.epoch = Epoch(slot.epoch.0 + raise);
                granted.push(Grant {
                    partition: *partition,
                    epoch: slot.epoch,
                    abandoned,
                });
            }
        }
        Acquired::Share {
            share: u16::try_from(share).unwrap_or(u16::MAX),
            granted,
        }
    }

    /// How far the clock of the taker is off, where a planted bug judges by it: up to a minute.
    fn skew_of(&self, request: &AcquireRequest) -> Duration {
        if !self.has(Bug::OwnClock) {
            return Duration::ZERO;
        }
        let drawn = request.instance.as_uuid().as_bytes()[0];
        Duration::from_millis(u64::from(drawn) * 235)
    }

    pub(super) fn give_back(&mut self, request: &ReleaseRequest) {
        for grant in &request.partitions {
            if let Some(slot) = self.slots.get_mut(&grant.partition)
                && slot.owner == Some(request.instance)
                && slot.epoch == grant.epoch
            {
                slot.owner = None;
                slot.abandoned = grant.abandoned;
            }
        }
        if request.leave {
            self.members.remove(&request.instance);
        }
    }
}
