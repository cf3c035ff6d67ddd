//! Leases: executing only while covered, loss, shares, hand-over, lost replies.

use std::time::Duration;

use iobox_core::{
    dispatch::{Command, Event, Settings},
    store::{Acquired, InstanceId, State},
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    rig::{Kind, Reply, Rig, lost, ms, ok, settings},
    store::Store,
};

/// A store with this many messages without a key, over four partitions.
pub(crate) fn of(count: u16) -> Store {
    let mut store = Store::new(4);
    for n in 0..count {
        store.enqueue(u8::try_from(n % 4).unwrap(), &format!("m{n}"), "", ms(0));
    }
    store
}

pub(crate) fn other(number: u128) -> InstanceId {
    InstanceId::new(Uuid::from_u128(1_000 + number))
}

/// An instance with everything, and an acquisition of its own that is still on its way: the store gives
/// it higher epochs when that takes effect.
pub(crate) fn owner_with_a_late_acquisition() -> (Rig, Command) {
    let mut rig = Rig::new(settings(), of(0));
    rig.hold.insert(Kind::Acquire);
    rig.step();
    let late = rig.held_back(Kind::Acquire);
    rig.reply(lost(&late));
    rig.let_go(Kind::Acquire);
    rig.run(ms(1_000));
    (rig, late)
}

pub(crate) fn owned(rig: &Rig) -> Vec<u8> {
    rig.machine
        .partitions()
        .map(|(partition, _)| partition.number())
        .collect()
}

#[test]
fn it_registers_acquires_and_renews_five_times_a_lease() {
    let mut rig = Rig::new(settings(), of(0));
    rig.run(ms(10_000));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    let renewals = rig.count(Kind::Renew);
    assert!(
        (10..=12).contains(&renewals),
        "{renewals} renewals in two leases"
    );
}

#[test]
fn it_executes_only_while_the_last_renewal_covers_execution_and_settle() {
    let mut rig = Rig::new(settings(), of(400));
    rig.script(|_| Some(ok()));
    rig.run(ms(3_000));
    rig.store.enqueue(0, "late", "", rig.now);
    rig.hold.insert(Kind::Renew);
    rig.run(ms(1_001));
    let sent = rig.now;
    let last = rig
        .log
        .iter()
        .rev()
        .filter(|(_, kind)| *kind == Kind::Renew)
        .nth(1)
        .unwrap()
        .0;
    let limit = last + ms(5_000 - 1_000 - 500);
    let mut n = 0;
    while rig.now < sent + ms(20_000) {
        n += 1;
        rig.store
            .enqueue(n % 4, &format!("x{}-{n}", rig.now.as_millis()), "", rig.now);
        rig.run(ms(200));
    }
    let started = |rig: &Rig| {
        rig.log
            .iter()
            .filter(|(_, kind)| *kind == Kind::Execute)
            .map(|(at, _)| *at)
            .max()
            .unwrap()
    };
    assert!(
        started(&rig) <= limit,
        "{:?} after {limit:?}",
        started(&rig)
    );
    assert!(started(&rig) > limit - ms(1_500));
    let fetched = rig
        .log
        .iter()
        .filter(|(_, kind)| *kind == Kind::Fetch)
        .map(|(at, _)| *at)
        .max()
        .unwrap();
    assert!(fetched <= limit);
    // The renewal that was late succeeds: nobody had deleted the row.
    rig.let_go(Kind::Renew);
    rig.run(ms(1_000));
    assert!(started(&rig) >= sent + ms(20_000), "it goes on");
    assert!(
        !rig.events.contains(&Event::InstanceGone),
        "with what it had"
    );
}

#[test]
fn outcomes_of_an_instance_that_is_no_longer_covered_are_still_settled() {
    let mut rig = Rig::new(settings(), of(4));
    rig.step();
    rig.hold.insert(Kind::Renew);
    rig.run(ms(8_000));
    rig.outcome("m0", ok());
    rig.run(ms(10));
    assert_eq!(rig.store.row("m0").state, State::Done);
}

#[test]
fn an_instance_that_is_gone_drops_everything_and_registers_under_a_new_id() {
    let mut rig = Rig::new(settings(), of(40));
    rig.step();
    let id = rig.machine.instance();
    rig.store.members.clear();
    rig.hold.insert(Kind::Acquire);
    rig.run(ms(1_500));
    assert_ne!(rig.machine.instance(), id);
    assert!(owned(&rig).is_empty());
    assert_eq!(rig.machine.buffered(), (0, 0));
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::InstanceGone))
    );
    let before = rig.settled.len();
    for id in rig.in_flight() {
        rig.outcome(&id, ok());
    }
    assert_eq!(
        rig.settled.len(),
        before,
        "what it had in flight ends unrecorded"
    );
    rig.script(|_| Some(ok()));
    rig.let_go(Kind::Acquire);
    rig.run(ms(10_000));
    assert_eq!(rig.store.count(State::Done), 40);
}

#[test]
fn partitions_granted_to_an_instance_that_is_gone_are_not_worked() {
    let mut rig = Rig::new(settings(), of(40));
    rig.hold.insert(Kind::Acquire);
    rig.run(ms(10));
    let granted = rig.held_back(Kind::Acquire);
    let reply = rig.effect(&granted);
    // The instance is deleted before the reply arrives, and registers anew.
    rig.store.members.clear();
    rig.run(ms(1_500));
    rig.reply(reply);
    rig.run(ms(100));
    assert!(
        owned(&rig).is_empty() && rig.in_flight().is_empty(),
        "they belong to nobody"
    );
    rig.let_go(Kind::Acquire);
    rig.run(ms(2_000));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
}

#[test]
fn an_acquisition_whose_reply_was_lost_strands_nothing() {
    let mut rig = Rig::new(settings(), of(40));
    rig.hold.insert(Kind::Acquire);
    rig.script(|_| Some(ok()));
    for _ in 0..3 {
        rig.run(ms(600));
        rig.lose_reply(Kind::Acquire);
    }
    rig.hold.remove(&Kind::Acquire);
    rig.run(ms(3_000));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    assert_eq!(rig.store.count(State::Done), 40);
}

#[test]
fn an_acquisition_that_takes_effect_late_costs_no_second_execution() {
    let (mut rig, late) = owner_with_a_late_acquisition();
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    // It arrives after all: the epochs of the store are not those of the machine.
    rig.effect(&late);
    rig.run(ms(2_500));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    rig.script(|_| Some(ok()));
    rig.store.enqueue(0, "m0", "", rig.now);
    rig.run(ms(2_000));
    assert_eq!(
        rig.ran,
        ["m0"],
        "executed under an epoch that can be settled"
    );
    assert_eq!(rig.store.row("m0").state, State::Done);
}

#[test]
fn a_message_that_is_in_flight_when_its_partition_is_granted_again_ends_before_it_runs_again() {
    let (mut rig, late) = owner_with_a_late_acquisition();
    rig.store.enqueue(0, "a0", "a", rig.now);
    rig.store.enqueue(0, "a1", "a", rig.now);
    rig.store.enqueue(1, "b0", "b", rig.now);
    rig.run(ms(1_000));
    assert_eq!(rig.in_flight(), ["a0", "b0"]);
    rig.effect(&late);
    rig.outcome("b0", ok());
    rig.run(ms(2_500));
    // The other partition goes on; this one waits for what it has in flight.
    assert_eq!(rig.in_flight(), ["a0", "b0"]);
    assert_eq!(rig.ran, ["a0", "b0", "b0"]);
    rig.outcome("a0", ok());
    rig.run(ms(100));
    assert_eq!(
        rig.ran,
        ["a0", "b0", "b0", "a0"],
        "recorded under the new epoch"
    );
    rig.outcome("a0", ok());
    rig.run(ms(100));
    assert_eq!(rig.in_flight(), ["a1", "b0"]);
}

#[test]
fn a_partition_that_is_granted_again_while_it_is_given_back_is_given_back_after_all() {
    let mut rig = Rig::new(settings(), of(0));
    rig.hold.extend([Kind::Acquire, Kind::Release]);
    rig.step();
    let late = rig.held_back(Kind::Acquire);
    rig.reply(lost(&late));
    rig.run(ms(1_000));
    rig.answer(Kind::Acquire);
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    // Somebody joins: two partitions are to be given back, under epochs that are the past.
    let until = Duration::from_secs(100_000);
    rig.store.members.insert(other(1), (ms(1), until));
    rig.run(ms(1_500));
    rig.answer(Kind::Acquire);
    assert_eq!(owned(&rig), [0, 1]);
    rig.effect(&late);
    rig.let_go(Kind::Acquire);
    rig.let_go(Kind::Release);
    rig.run(ms(20_000));
    assert_eq!(owned(&rig), [0, 1]);
    let free = rig.store.owners.values();
    assert_eq!(free.filter(|(owner, _)| owner.is_none()).count(), 2);
}

#[test]
fn a_release_whose_reply_was_lost_is_repeated() {
    let mut rig = Rig::new(settings(), of(0));
    rig.step();
    rig.hold.insert(Kind::Release);
    rig.store
        .members
        .insert(other(1), (ms(1), Duration::from_secs(100_000)));
    rig.run(ms(1_500));
    rig.lose_reply(Kind::Release);
    rig.run(ms(1_500));
    let Command::Release(request) = rig.held_back(Kind::Release) else {
        unreachable!()
    };
    assert_eq!(request.partitions.len(), 2);
}

/// What a machine with any timeouts may start: nothing whose outcome could be recorded after its
/// lease.
fn covered(settings: &Settings, rig: &Rig, renewed: Duration) -> bool {
    rig.log
        .iter()
        .filter(|(_, kind)| *kind == Kind::Execute)
        .all(|(at, _)| {
            *at + settings.execute_timeout + settings.settle_timeout <= renewed + settings.ttl
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The time between the last renewal and the last execution, whatever the timeouts.
    #[test]
    fn no_execution_outlasts_the_lease(
        execute in 1..2_000_u64,
        settle in 10..1_000_u64,
        stop in 0..6_000_u64,
    ) {
        let mut settings = settings();
        settings.execute_timeout = ms(execute);
        settings.settle_timeout = ms(settle);
        let mut rig = Rig::new(settings.clone(), of(0));
        rig.script(|_| Some(ok()));
        let mut n = 0;
        let mut renewed = ms(0);
        while rig.now < ms(14_000) {
            n += 1;
            rig.store.enqueue(n % 4, &format!("m{}-{n}", rig.now.as_millis()), "", rig.now);
            if rig.now >= ms(stop) {
                rig.hold.insert(Kind::Renew);
            } else {
                let last = rig.log.iter().rev().find(|(_, kind)| *kind == Kind::Renew);
                renewed = last.map_or(renewed, |(at, _)| *at);
            }
            rig.run(ms(97));
            if !rig.hold.contains(&Kind::Renew) {
                let last = rig.log.iter().rev().find(|(_, kind)| *kind == Kind::Renew);
                renewed = last.map_or(renewed, |(at, _)| *at);
            }
        }
        prop_assert!(covered(&settings, &rig, renewed));
    }
}

#[test]
fn an_instance_without_its_share_asks_four_times_as_often() {
    for short in [false, true] {
        let mut store = of(0);
        if short {
            let until = Duration::from_secs(100_000);
            store.members.insert(other(1), (ms(0), until));
            let owners = store.owners.values_mut();
            owners.for_each(|slot| *slot = (Some(other(1)), 1));
        }
        let mut rig = Rig::new(settings(), store);
        rig.run(ms(4_999));
        let asked = rig.count(Kind::Acquire);
        assert_eq!(asked, if short { 20 } else { 5 });
    }
}

#[test]
fn an_instance_that_is_told_that_it_expired_renews_and_asks_again_soon() {
    let mut rig = Rig::new(settings(), of(0));
    rig.hold.insert(Kind::Acquire);
    rig.step();
    rig.held_back(Kind::Acquire);
    rig.hold.clear();
    let renewals = rig.count(Kind::Renew);
    rig.reply(Reply::Acquired(Ok(Acquired::Gone)));
    rig.step();
    assert_eq!(rig.count(Kind::Renew), renewals + 1);
    rig.run(ms(249));
    assert_eq!(rig.count(Kind::Acquire), 1);
    rig.run(ms(1));
    assert_eq!(rig.count(Kind::Acquire), 2);
}
