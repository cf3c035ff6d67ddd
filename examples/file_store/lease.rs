//! Leases: who works which partition, and until when.

use std::time::Duration;

use iobox::{
    partition::Partition,
    store::{AcquireRequest, Acquired, Epoch, Grant, ReleaseRequest, RenewRequest, Renewed},
};

use super::{
    slip::Slip,
    table::{Change, Edit, Member, Slot},
};

impl Edit<'_> {
    pub(super) fn renew(&mut self, request: &RenewRequest, now: Duration) -> Renewed {
        let id = request.instance.as_uuid().as_u128();
        let started = match self.members.get(&id) {
            Some(member) => member.started,
            None if request.register => now,
            None => return Renewed::Gone,
        };
        let member = Member {
            started,
            expires: now.saturating_add(request.ttl),
            in_flight: request.in_flight,
        };
        self.make(Change::Member(id, member));
        Renewed::Alive
    }

    pub(super) fn acquire(&mut self, request: &AcquireRequest, now: Duration) -> Acquired {
        let id = request.instance.as_uuid().as_u128();
        let expired: Vec<u128> = self
            .members
            .iter()
            .filter(|(_, member)| member.expires <= now)
            .map(|(id, _)| *id)
            .collect();
        if !self.members.contains_key(&id) || expired.contains(&id) {
            return Acquired::Gone;
        }
        for id in expired {
            self.make(Change::Left(id));
        }
        let mut ranked: Vec<_> = self
            .members
            .iter()
            .map(|(id, m)| (m.started, *id))
            .collect();
        ranked.sort_unstable();
        let rank = ranked.iter().position(|(_, other)| *other == id);
        let (partitions, live) = (self.slots.len(), ranked.len());
        let share = partitions / live + usize::from(rank < Some(partitions % live));

        let slots: Vec<(u8, Slot)> = self.slots.iter().map(|(n, slot)| (*n, *slot)).collect();
        let owned = slots
            .iter()
            .filter(|(_, slot)| slot.owner == Some(id))
            .count();
        let mut room = share.saturating_sub(owned);
        let mut granted = Vec::new();
        for (number, slot) in slots {
            let partition = Partition::new(number);
            let free = slot
                .owner
                .is_none_or(|owner| !self.members.contains_key(&owner));
            // Granted by a call whose reply the taker never saw: he gets it again, beyond his share.
            let lost =
                slot.owner == Some(id) && !request.held.contains(&(partition, Epoch(slot.epoch)));
            let due = free && room > 0;
            if !lost && !due {
                continue;
            }
            room -= usize::from(!lost);
            let raise = i64::from(self.slip != Slip::SameEpoch);
            let taken = Slot {
                owner: Some(id),
                epoch: slot.epoch + raise,
                abandoned: slot.abandoned || slot.owner.is_some(),
            };
            self.make(Change::Slot(number, taken));
            granted.push(Grant {
                partition,
                epoch: Epoch(taken.epoch),
                abandoned: taken.abandoned,
            });
        }
        Acquired::Share {
            share: u16::try_from(share).unwrap_or(u16::MAX),
            granted,
        }
    }

    pub(super) fn give_back(&mut self, request: &ReleaseRequest) {
        let id = request.instance.as_uuid().as_u128();
        for grant in &request.partitions {
            let number = grant.partition.number();
            let slot = self.slots.get(&number).copied();
            let Some(slot) = slot.filter(|slot| slot.owner == Some(id)) else {
                continue;
            };
            if slot.epoch == grant.epoch.0 {
                let free = Slot {
                    owner: None,
                    abandoned: grant.abandoned,
                    ..slot
                };
                self.make(Change::Slot(number, free));
            }
        }
        if request.leave && self.members.contains_key(&id) {
            self.make(Change::Left(id));
        }
    }
}
