//! The breaker: stops sending while the broker as a whole does not answer.

use std::time::Duration;

use super::Time;
use crate::{Error, Result};

/// When the breaker opens, and how often it probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    threshold: u32,
    probe_interval: Duration,
}

impl BreakerPolicy {
    /// The default: opens after 5 outcomes in a row, probes once a second.
    pub const DEFAULT: Self = Self {
        threshold: 5,
        probe_interval: Duration::from_secs(1),
    };

    /// A policy that opens after `threshold` unavailable or unknown outcomes in a row and probes
    /// every `probe_interval`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `threshold` is not in 1 to 1,000 or
    /// `probe_interval` not in 10 ms to 60 s.
    pub fn new(threshold: u32, probe_interval: Duration) -> Result<Self> {
        if threshold == 0 || threshold > 1_000 {
            return Err(Error::invalid(format!(
                "breaker threshold is {threshold}; it needs 1 to 1000"
            )));
        }
        if probe_interval < Duration::from_millis(10) || probe_interval > Duration::from_secs(60) {
            return Err(Error::invalid(format!(
                "breaker probe interval is {probe_interval:?}; it needs 10 ms to 60 s"
            )));
        }
        Ok(Self {
            threshold,
            probe_interval,
        })
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// They are.
    Closed,
    /// Nothing but probes.
    Open,
}

/// The breaker of one machine.
#[derive(Debug)]
#[cfg_attr(iobox_bugs, derive(Clone))]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    failures: u32,
    opened_at: Option<Time>,
    next_probe: Time,
    pub(super) probing: bool,
}

impl Breaker {
    pub(super) const fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            opened_at: None,
            next_probe: Time::at(Duration::ZERO),
            probing: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    pub(super) const fn opened_at(&self) -> Option<Time> {
        self.opened_at
    }

    pub(super) const fn state(&self) -> BreakerState {
        if self.is_open() {
            BreakerState::Open
        } else {
            BreakerState::Closed
        }
    }

    /// The broker answered a message.
    pub(super) const fn answered(&mut self) {
        self.failures = 0;
    }

    /// The broker did not answer a message. Returns whether this opened the breaker.
    pub(super) fn failed(&mut self, now: Time) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() || self.failures < self.policy.threshold {
            return false;
        }
        self.open(now);
        true
    }

    pub(super) fn open(&mut self, now: Time) {
        self.opened_at = Some(now);
        self.next_probe = now + self.policy.probe_interval;
    }

    /// A probe ended. Returns whether this closed the breaker.
    pub(super) fn probed(&mut self, ok: bool, now: Time) -> bool {
        self.probing = false;
        self.next_probe = now + self.policy.probe_interval;
        if ok && self.is_open() {
            self.opened_at = None;
            self.failures = 0;
            return true;
        }
        false
    }

    /// When the next probe is due, if one is wanted and none is under way.
    pub(super) fn probe_due(&self) -> Option<Time> {
        (self.is_open() && !self.probing).then_some(self.next_probe)
    }
}
