//! Membership: the life of an instance in its queue.

use std::time::Duration;

use super::Time;
use crate::store::InstanceId;

/// What the machine knows of its own registration.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Member {
    pub(super) id: InstanceId,
    pub(super) registered: bool,
    /// Whether a registration had no answer: it may arrive at any time, and bring back what is gone.
    registration_at_large: bool,
    /// When the last successful renewal was sent.
    renewed: Option<Time>,
    /// The renewal under way: of whom, and when it was sent.
    pub(super) renewing: Option<(InstanceId, Time)>,
    pub(super) next_renew: Time,
    pub(super) renew_failures: u32,
    /// Whom the acquisition under way is for.
    pub(super) acquiring: Option<InstanceId>,
    pub(super) next_acquire: Time,
    pub(super) share: Option<u16>,
    /// It left the queue and does not come back until told.
    pub(super) away: bool,
    /// Its row is to go, with all that it may have: it comes back under another id.
    pub(super) leaves: bool,
}

impl Member {
    pub(super) const fn new(id: InstanceId, now: Time) -> Self {
        Self {
            id,
            registered: false,
            registration_at_large: false,
            renewed: None,
            renewing: None,
            next_renew: now,
            renew_failures: 0,
            acquiring: None,
            next_acquire: now,
            share: None,
            away: false,
            leaves: false,
        }
    }

    /// The same member under a new id, not registered yet. Calls under way for the old id are still
    /// to be answered, and their answers say nothing about the new one.
    pub(super) fn under(&self, id: InstanceId, now: Time) -> Self {
        Self {
            renewing: self.renewing,
            acquiring: self.acquiring,
            ..Self::new(id, now)
        }
    }

    /// Whether nothing more is to be had for it.
    pub(super) const fn is_leaving(&self) -> bool {
        self.away || self.leaves
    }

    /// A renewal that was sent at `sent` succeeded.
    pub(super) fn renewed(&mut self, sent: Time) {
        self.registered = true;
        self.renew_failures = 0;
        self.renewed = Some(self.renewed.map_or(sent, |last| last.max(sent)));
    }

    /// A renewal had no answer.
    pub(super) const fn unanswered(&mut self) {
        self.renew_failures = self.renew_failures.saturating_add(1);
        self.registration_at_large |= !self.registered;
    }

    /// Whether it may have been gone since the last successful renewal although the store says that it is
    /// alive: its lease ended, and a registration may have arrived behind that.
    pub(super) fn may_have_been_gone(&self, now: Time, ttl: Duration) -> bool {
        self.registration_at_large && self.registered && !self.covers(now, Duration::ZERO, ttl)
    }

    /// Whether an execution that is recorded within `span` from now is recorded while the instance
    /// counts as alive.
    pub(super) fn covers(&self, now: Time, span: Duration, ttl: Duration) -> bool {
        self.renewed
            .is_some_and(|renewed| now + span <= renewed + ttl)
    }
}
