//! The plan of a run: topology, settings and fault rates, all drawn from the seed.

use std::time::Duration;

use iobox_core::dispatch::DeadLetterPolicy;

/// How likely each fault is, from 0 to 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    pub(crate) fail_before: f64,
    pub(crate) fail_after: f64,
    pub(crate) delay: f64,
    pub(crate) hang: f64,
    pub(crate) ack_lost: f64,
    pub(crate) not_taken: f64,
    pub(crate) late_copy: f64,
    pub(crate) transient: f64,
    pub(crate) slow_publish: f64,
    pub(crate) crash: f64,
    pub(crate) pause: f64,
    pub(crate) drain: f64,
    pub(crate) broker_down: f64,
    pub(crate) store_down: f64,
}

/// A scripted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// The broker takes it.
    Plain,
    /// The broker never takes it.
    Poison,
    /// The broker fails on it until the heal.
    Flaky,
    /// It breaks the connection until the heal.
    Breaker,
    /// It kills the process that sends it until the heal.
    Killer,
    /// The broker takes it when it is told so by an operator alone.
    Corrupt,
}

/// Everything that is drawn before a run starts.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) partitions: u16,
    pub(crate) instances: usize,
    pub(crate) keys: usize,
    pub(crate) messages: usize,
    pub(crate) unkeyed: f64,
    pub(crate) rollbacks: f64,
    pub(crate) batch: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_attempts: u32,
    pub(crate) backoff_cap: Duration,
    pub(crate) ttl: Duration,
    pub(crate) policy: DeadLetterPolicy,
    pub(crate) linger: Duration,
    pub(crate) rates: Rates,
    pub(crate) poison: f64,
    pub(crate) flaky: f64,
    pub(crate) breaker: usize,
    pub(crate) killer: usize,
    pub(crate) corrupt: usize,
    pub(crate) safety: Duration,
    /// How long producers take for all messages.
    pub(crate) producing: Duration,
}

/// A rate that is zero in a third of the runs.
fn rate(random: &mut fastrand::Rng, most: f64) -> f64 {
    if random.f64() < 0.35 {
        0.0
    } else {
        random.f64() * most
    }
}

impl Plan {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let often = |random: &mut fastrand::Rng| random.f64() < 0.9;
        let instances = if often(random) {
            random.usize(2..=4)
        } else {
            1
        };
        let keys = if often(random) {
            random.usize(3..=8)
        } else {
            random.usize(1..=2)
        };
        let messages = if often(random) {
            random.usize(20..=60)
        } else {
            random.usize(4..=19)
        };
        let ttl = Duration::from_millis(random.u64(1_000..=6_000));
        let one_in = |random: &mut fastrand::Rng, n: usize| usize::from(random.usize(0..n) == 0);
        Self {
            partitions: [1, 2, 4][random.usize(0..3)],
            instances,
            keys,
            messages,
            unkeyed: rate(random, 0.3),
            rollbacks: rate(random, 0.3),
            batch: random.usize(1..=6),
            max_in_flight: random.usize(1..=8),
            max_attempts: random.u32(1..=6),
            backoff_cap: Duration::from_millis(random.u64(20..=2_000)),
            ttl,
            policy: if random.bool() {
                DeadLetterPolicy::HaltKey
            } else {
                DeadLetterPolicy::Skip
            },
            linger: Duration::from_millis(random.u64(0..=5)),
            rates: Rates {
                fail_before: rate(random, 0.1),
                fail_after: rate(random, 0.1),
                delay: rate(random, 0.3),
                hang: rate(random, 0.02),
                ack_lost: rate(random, 0.1),
                not_taken: rate(random, 0.1),
                late_copy: rate(random, 0.1),
                transient: rate(random, 0.2),
                slow_publish: rate(random, 0.2),
                crash: rate(random, 0.5),
                pause: rate(random, 0.4),
                drain: rate(random, 0.4),
                broker_down: rate(random, 0.3),
                store_down: rate(random, 0.2),
            },
            poison: rate(random, 0.1),
            flaky: rate(random, 0.1),
            breaker: one_in(random, 6),
            killer: one_in(random, 6),
            corrupt: one_in(random, 6),
            safety: ttl * random.u32(3..=8),
            producing: ttl * random.u32(1..=3),
        }
    }

    /// Whether the run is one of those that CI asks for: enough of everything.
    pub(crate) const fn is_rich(&self, faults: usize) -> bool {
        self.instances >= 2 && self.keys >= 3 && self.messages >= 20 && faults >= 3
    }
}
