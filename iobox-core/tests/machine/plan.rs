//! A plan: the messages, faults and events of one random run, made so that it shrinks.

use iobox_core::{
    dispatch::{BreakerPolicy, DeadLetterPolicy, RetryPolicy, Settings},
    queue::Queue,
};
use proptest::prelude::*;

use crate::rig::ms;

/// What a message does to whoever executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Plain,
    /// The broker never takes it.
    Rejected,
    /// Its row cannot be decoded.
    Damaged,
    /// It kills the process.
    Deadly,
    /// Its outcome is never known.
    Breaks,
}

/// A message: its key (0: none), when it is enqueued, how much later that is committed. Writers of
/// one key take turns, as the contract asks: theirs is committed at once.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) key: u8,
    pub(crate) at: u64,
    pub(crate) late: u64,
    pub(crate) nature: Nature,
}

/// What happens to a call of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallFault {
    /// It takes effect after the first and is answered after the second time.
    Slow(u64, u64),
    /// It never takes effect.
    LostBefore,
    /// It takes effect, and nobody hears of it.
    LostAfter(u64),
    /// It is given up, and takes effect this much later.
    Late(u64),
}

/// What happens to an execution, and how long it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RunFault {
    Slow(u64),
    Transient(u64),
    Permanent(u64),
    Unavailable,
    /// Unknown, after the broker took it.
    UnknownTaken(u64),
    /// Unknown, and the broker never saw it.
    UnknownLost(u64),
}

/// Something that happens to a process, or to all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Crash(usize),
    Freeze(usize, u64),
    Drain(usize),
    BrokerDown(u64),
    /// The clock of the store jumps ahead.
    StoreJump(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) partitions: u8,
    pub(crate) batch: usize,
    pub(crate) in_flight: usize,
    pub(crate) skip: bool,
    pub(crate) seed: u64,
    pub(crate) letters: Vec<Letter>,
    pub(crate) calls: Vec<CallFault>,
    pub(crate) runs: Vec<RunFault>,
    pub(crate) acts: Vec<(u64, Act)>,
}

impl Plan {
    /// Settings with short times, so that a run of a minute sees many leases.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(Queue::Outbox);
        settings.batch = self.batch;
        settings.fetch = self.batch;
        settings.max_in_flight = self.in_flight;
        settings.ttl = ms(2_000);
        settings.execute_timeout = ms(500);
        settings.settle_timeout = ms(300);
        settings.grace = ms(1_000);
        settings.retry = RetryPolicy::new(ms(20), ms(500), 20).unwrap();
        settings.breaker = BreakerPolicy::new(3, ms(200)).unwrap();
        settings.max_crashes = 2;
        settings.policy = if self.skip {
            DeadLetterPolicy::Skip
        } else {
            DeadLetterPolicy::HaltKey
        };
        settings
    }
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        30 => Just(Nature::Plain),
        1 => Just(Nature::Rejected),
        1 => Just(Nature::Damaged),
        1 => Just(Nature::Deadly),
        1 => Just(Nature::Breaks),
    ]
}

fn letter() -> impl Strategy<Value = Letter> {
    let time = prop_oneof![Just(0_u64), 0..4_000_u64];
    let late = prop_oneof![3 => Just(0_u64), 1 => 1..900_u64];
    (0..6_u8, time, late, nature()).prop_map(|(key, at, late, nature)| Letter {
        key,
        at,
        late: if key == 0 { late } else { 0 },
        nature,
    })
}

fn call() -> impl Strategy<Value = CallFault> {
    prop_oneof![
        8 => (0..60_u64, 0..60_u64).prop_map(|(out, back)| CallFault::Slow(out, back)),
        1 => (0..300_u64, 0..900_u64).prop_map(|(out, back)| CallFault::Slow(out, back)),
        1 => Just(CallFault::LostBefore),
        2 => (0..200_u64).prop_map(CallFault::LostAfter),
        1 => (1..2_500_u64).prop_map(CallFault::Late),
    ]
}

fn run() -> impl Strategy<Value = RunFault> {
    prop_oneof![
        6 => (0..500_u64).prop_map(RunFault::Slow),
        2 => (0..500_u64).prop_map(RunFault::Transient),
        1 => (0..100_u64).prop_map(RunFault::Permanent),
        2 => Just(RunFault::Unavailable),
        2 => (0..500_u64).prop_map(RunFault::UnknownTaken),
        2 => (0..500_u64).prop_map(RunFault::UnknownLost),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Act::Crash),
        3 => (0..3_usize, 1..5_000_u64).prop_map(|(node, time)| Act::Freeze(node, time)),
        2 => (0..3_usize).prop_map(Act::Drain),
        1 => (1..9_000_u64).prop_map(Act::BrokerDown),
        1 => (1..4_000_u64).prop_map(Act::StoreJump),
    ]
}

prop_compose! {
    pub(crate) fn plan()(
        nodes in 1..4_usize,
        partitions in prop::sample::select(vec![1_u8, 2, 4]),
        (batch, in_flight) in prop_oneof![
            (1..6_usize, 1..5_usize),
            Just((8, 100)),
            Just((100, 100)),
        ],
        skip: bool,
        seed: u64,
        letters in prop::collection::vec(letter(), 1..60),
        calls in prop::collection::vec(call(), 0..250),
        runs in prop::collection::vec(run(), 0..40),
        acts in prop::collection::vec((0..8_000_u64, act()), 0..5),
    ) -> Plan {
        Plan { nodes, partitions, batch, in_flight, skip, seed, letters, calls, runs, acts }
    }
}
