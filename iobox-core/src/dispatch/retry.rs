//! The retry policy: how long to wait before the next attempt.

use std::time::Duration;

use crate::{Error, Result};

/// Exponential backoff with full jitter and a cap.
///
/// Attempt n waits for a random time between zero and `min(cap, base * 2^(n-1))`, after "full
/// jitter" in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(super) base: Duration,
    pub(super) cap: Duration,
    pub(super) max_attempts: u32,
}

impl RetryPolicy {
    /// The default: base 500 ms, cap 5 minutes, 20 attempts.
    pub const DEFAULT: Self = Self {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(300),
        max_attempts: 20,
    };

    /// A policy.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `base` is zero, `cap` is below `base` or above
    /// 24 hours, or `max_attempts` is not in 1 to 1,000.
    pub fn new(base: Duration, cap: Duration, max_attempts: u32) -> Result<Self> {
        const CAP_MAX: Duration = Duration::from_secs(24 * 3600);
        if base.is_zero() {
            return Err(Error::invalid("retry base is zero; it needs more"));
        }
        if cap < base || cap > CAP_MAX {
            return Err(Error::invalid(format!(
                "retry cap is {cap:?}; it needs at least the base of {base:?} and at most 24 hours"
            )));
        }
        if max_attempts == 0 || max_attempts > 1_000 {
            return Err(Error::invalid(format!(
                "max_attempts is {max_attempts}; it needs 1 to 1000"
            )));
        }
        Ok(Self {
            base,
            cap,
            max_attempts,
        })
    }

    /// After how many failed attempts a message is dead.
    #[must_use]
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The longest wait before the attempt after `attempt` failed ones, without jitter.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(32);
        self.base
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(self.cap)
    }

    /// A wait before the attempt after `attempt` failed ones.
    pub(super) fn delay(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        self.ceiling(attempt).mul_f64(random.f64())
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy =
            RetryPolicy::new(Duration::from_millis(10), Duration::from_millis(65), 5).unwrap();
        let millis = [0, 1, 2, 3, 4, 40, u32::MAX].map(|n| policy.ceiling(n).as_millis());
        assert_eq!(millis, [10, 10, 20, 40, 65, 65, 65]);
    }

    #[test]
    fn the_delay_stays_below_the_ceiling_and_is_spread() {
        let mut random = fastrand::Rng::with_seed(7);
        let delays: Vec<_> = (0..1_000)
            .map(|_| RetryPolicy::DEFAULT.delay(3, &mut random))
            .collect();
        let ceiling = RetryPolicy::DEFAULT.ceiling(3);
        assert!(delays.iter().all(|delay| *delay <= ceiling));
        assert!(delays.iter().any(|delay| *delay < ceiling / 10));
        assert!(delays.iter().any(|delay| *delay > ceiling * 9 / 10));
    }
}
