//! The plan of a run: topology, settings and fault rates, all drawn from the seed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iobox_core::dispatch::DeadLetterPolicy;

use crate::{
    point::Point,
    rates::{Rates, rate},
};

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
    pub(crate) mode: Mode,
    pub(crate) partitions: u16,
    /// How many relays there are.
    pub(crate) instances: usize,
    /// How many inboxes there are.
    pub(crate) inboxes: usize,
    pub(crate) handlers: Vec<HandlerPlan>,
    pub(crate) topics: usize,
    /// Whether the broker removes what is acked.
    pub(crate) removes: bool,
    /// Whether half of the messages are of one key.
    pub(crate) hot: bool,
    pub(crate) favourite: (Point, f64),
    pub(crate) only: Option<Arc<BTreeSet<u32>>>,
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

/// Which halves are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Relays from an outbox to the broker.
    Outbox,
    /// Inboxes that read the broker's log.
    Inbox,
    /// One after the other.
    Both,
}

/// A handler.
#[derive(Debug, Clone)]
pub(crate) struct HandlerPlan {
    /// Which topics it wants.
    pub(crate) pattern: String,
    /// Whether its effects and its mark are in one transaction.
    pub(crate) transactional: bool,
    /// From which part of the faults on programs have it.
    pub(crate) since: f64,
    pub(crate) policy: DeadLetterPolicy,
    pub(crate) max_attempts: u32,
    pub(crate) concurrency: usize,
    /// In time-to-lives.
    pub(crate) timeout: f64,
}

/// What is left out of a run, so that it shows nothing but what matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trim {
    /// Names of rates that are zero.
    pub(crate) without: BTreeSet<String>,
    /// The most messages.
    pub(crate) messages: Option<usize>,
    /// Which faults strike, by their number; `None` lets all.
    pub(crate) only: Option<Arc<BTreeSet<u32>>>,
}

fn policy(random: &mut fastrand::Rng) -> DeadLetterPolicy {
    if random.bool() {
        DeadLetterPolicy::HaltKey
    } else {
        DeadLetterPolicy::Skip
    }
}

/// A crash point, and how likely it is. One that is seldom reached is likelier.
fn favourite(random: &mut fastrand::Rng) -> (Point, f64) {
    let point = Point::ALL[random.usize(0..Point::ALL.len())].0;
    let most = match point {
        Point::Replaying | Point::Purging | Point::Draining | Point::MidBatch => 0.8,
        Point::Burying | Point::MidSettle | Point::Received => 0.5,
        _ => 0.15,
    };
    (point, random.f64() * most)
}

impl HandlerPlan {
    fn draw(random: &mut fastrand::Rng, first: bool, topics: usize) -> Self {
        let topic = random.usize(0..=topics);
        Self {
            pattern: if topic == topics {
                "t.*".to_owned()
            } else {
                format!("t.{topic}")
            },
            transactional: random.f64() < 0.65,
            since: if first {
                0.0
            } else {
                random.f64().mul_add(1.4, -0.4)
            },
            policy: policy(random),
            max_attempts: random.u32(1..=6),
            concurrency: random.usize(1..=6),
            timeout: random.f64().mul_add(1.3, 0.2),
        }
    }

    /// Whether it wants messages of this topic.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.pattern == "t.*" || self.pattern == topic
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
        let mode = match random.f64() {
            draw if draw < 0.45 => Mode::Outbox,
            draw if draw < 0.65 => Mode::Inbox,
            _ => Mode::Both,
        };
        let topics = random.usize(1..=3);
        let handlers = random.usize(1..=3);
        let handlers = (0..handlers).map(|n| HandlerPlan::draw(random, n == 0, topics));
        Self {
            mode,
            handlers: handlers.collect(),
            topics,
            inboxes: random.usize(1..=3),
            removes: random.bool(),
            hot: random.f64() < 0.2,
            favourite: favourite(random),
            only: None,
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
            policy: policy(random),
            linger: Duration::from_millis(random.u64(0..=5)),
            rates: Rates::draw(random),
            poison: rate(random, 0.1),
            flaky: rate(random, 0.1),
            breaker: one_in(random, 6),
            killer: one_in(random, 6),
            corrupt: one_in(random, 6),
            safety: ttl * random.u32(3..=8),
            producing: ttl * random.u32(1..=3),
        }
    }

    /// Leaves out what `trim` says.
    pub(crate) fn trimmed(mut self, trim: &Trim) -> Self {
        for name in &trim.without {
            self.rates.switch_off(name);
        }
        if let Some(messages) = trim.messages {
            self.messages = self.messages.min(messages);
        }
        self.only.clone_from(&trim.only);
        self
    }

    /// Whether the run is one of those that CI asks for: enough of everything.
    pub(crate) const fn is_rich(&self, faults: usize) -> bool {
        self.instances + self.inboxes >= 2 && self.keys >= 3 && self.messages >= 20 && faults >= 3
    }
}
