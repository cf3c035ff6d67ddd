//! The policy: how one handler is run.

use std::time::Duration;

use crate::{
    Error, Result,
    dispatch::{DeadLetterPolicy, RetryPolicy, Settings},
};

/// How a handler is run. Every setting has a default; the inbox's `build` checks all of them.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct HandlerPolicy {
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) retry: RetryPolicy,
    pub(super) dead_letters: DeadLetterPolicy,
}

impl HandlerPolicy {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            concurrency: 16,
            retry: RetryPolicy::DEFAULT,
            dead_letters: DeadLetterPolicy::HaltKey,
        }
    }

    /// How long one run may take before it is cancelled and counted as a failed attempt. It may be
    /// longer than the time-to-live of a lease. Default 30 s; 1 ms to 1 h.
    ///
    /// A transaction of SQLite ends sooner, with the `transaction_limit` of the store (2 s by default).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most messages that the handler works on at once in this process; of a key it is always
    /// one. Default 16; 1 to 10,000.
    ///
    /// A transactional handler on Postgres holds a connection while it runs, of which all handlers of a store
    /// share `pool_size` (4 by default): more than these wait, for at most `pool_timeout`.
    pub const fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = messages;
        self
    }

    /// When to run a failed message again, and after how many attempts to give up.
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What a dead message does to its key. Default: it halts it, for this handler.
    pub const fn dead_letters(mut self, policy: DeadLetterPolicy) -> Self {
        self.dead_letters = policy;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(3_600));
        if self.timeout < least || self.timeout > most {
            return Err(Error::invalid(format!(
                "timeout is {:?}; it needs {least:?} to {most:?}",
                self.timeout
            )));
        }
        if self.concurrency == 0 || self.concurrency > 10_000 {
            return Err(Error::invalid(format!(
                "concurrency is {}; it needs 1 to 10000",
                self.concurrency
            )));
        }
        Ok(())
    }

    /// The settings of the machine that drives the handler.
    pub(super) fn apply(&self, settings: &mut Settings) {
        settings.max_in_flight = self.concurrency;
        // What is executed and not settled, and so runs again after a kill, is bounded by it.
        settings.batch = (2 * self.concurrency).clamp(16, 1_000);
        // A fetch costs as much as some handlers: it brings what many of them will run.
        settings.fetch = (32 * self.concurrency).clamp(64, 1_000);
        settings.execute_timeout = self.timeout;
        settings.spans_renewals = true;
        settings.retry = self.retry;
        settings.policy = self.dead_letters;
    }
}

impl Default for HandlerPolicy {
    fn default() -> Self {
        Self::new()
    }
}
