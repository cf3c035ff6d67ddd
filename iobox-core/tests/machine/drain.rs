//! Rule 8: a drain takes nothing new, gives what is in flight a grace time, and releases the rest.

use iobox_core::{
    dispatch::Event,
    store::{InstanceId, State},
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    rig::{Kind, Rig, ms, ok, settings, transient, unavailable, unknown},
    store::Store,
};

pub(crate) fn of(count: u16, abandoned: bool) -> Store {
    let mut store = Store::new(4);
    for n in 0..count {
        let key = if n % 3 == 0 {
            String::new()
        } else {
            format!("k{}", n % 5)
        };
        store.enqueue(u8::try_from(n % 4).unwrap(), &format!("m{n}"), &key, ms(0));
    }
    if abandoned {
        let dead = InstanceId::new(Uuid::from_u128(77));
        store
            .owners
            .values_mut()
            .for_each(|slot| *slot = (Some(dead), 1));
    }
    store
}

pub(crate) fn drain(rig: &mut Rig) -> usize {
    let now = rig.time();
    let before = rig.log.len();
    rig.machine.drain(now);
    rig.step();
    before
}

/// Whether nothing was fetched, executed or acquired since.
pub(crate) fn nothing_new(rig: &Rig, before: usize) -> bool {
    rig.log[before..].iter().all(|(_, kind)| {
        matches!(
            kind,
            Kind::Renew | Kind::Release | Kind::Settle | Kind::Probe
        )
    })
}

#[test]
fn an_idle_machine_is_drained_at_once() {
    let mut rig = Rig::new(settings(), of(0, false));
    rig.run(ms(1_000));
    drain(&mut rig);
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert_eq!(
        rig.machine.deadline(now),
        None,
        "there is nothing to wait for"
    );
    assert!(rig.store.members.is_empty());
    assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
}

#[test]
fn what_is_in_flight_may_end_within_the_grace_time() {
    let mut rig = Rig::new(settings(), of(40, false));
    rig.step();
    let flying = rig.in_flight();
    let before = drain(&mut rig);
    rig.run(ms(1_000));
    for id in &flying {
        let now = rig.time();
        assert!(!rig.machine.is_drained(now));
        rig.outcome(id, ok());
    }
    rig.run(ms(10));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert!(nothing_new(&rig, before));
    assert!(
        flying
            .iter()
            .all(|id| rig.store.row(id).state == State::Done)
    );
    assert!(rig.store.members.is_empty());
    assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
}

#[test]
fn what_does_not_end_in_time_is_released_and_reported() {
    let mut rig = Rig::new(settings(), of(40, false));
    rig.step();
    let before = drain(&mut rig);
    rig.run(ms(2_000));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert!(nothing_new(&rig, before));
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::Stuck { .. }))
    );
    assert!(rig.store.members.is_empty());
    assert!(
        rig.store.rows.values().all(|row| row.attempt == 0),
        "shutdown burns no attempts"
    );
}

/// The next owner must know that a message may have been delivered: nothing tells it what was not recorded.
#[test]
fn what_ended_and_is_not_recorded_in_time_is_given_back_as_abandoned() {
    for recorded in [true, false] {
        let mut store = Store::new(2);
        store.enqueue(0, "settling", "", ms(0));
        store.enqueue(1, "queued", "", ms(0));
        let mut settings = settings();
        settings.grace = ms(0);
        let mut rig = Rig::new(settings, store);
        rig.step();
        rig.hold.insert(Kind::Settle);
        // One is in the settle that is under way, and the other waits for its reply.
        rig.outcome("settling", unknown());
        rig.run(ms(3));
        assert_eq!(rig.count(Kind::Settle), 1);
        rig.outcome("queued", unknown());
        if recorded {
            rig.let_go(Kind::Settle);
        }
        drain(&mut rig);
        rig.run(ms(100));
        assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
        assert_eq!(rig.store.abandoned.len(), if recorded { 0 } else { 2 });
    }
}

#[test]
fn marks_are_cleared_and_no_attempt_is_burnt() {
    let mut store = of(12, true);
    // One runs alone: its attempt is recorded ahead.
    store.row_mut("m0").suspect = true;
    store.row_mut("m0").crashes = 1;
    for held in [false, true] {
        let mut rig = Rig::new(settings(), store.clone());
        if held {
            rig.hold.insert(Kind::Settle);
        }
        rig.run(ms(20));
        let flying = rig.in_flight();
        drain(&mut rig);
        rig.let_go(Kind::Settle);
        for id in flying.iter().filter(|_| !held) {
            rig.outcome(id, unavailable());
        }
        rig.run(ms(500));
        let now = rig.time();
        assert!(rig.machine.is_drained(now), "held {held}");
        for row in rig.store.rows.values() {
            let marked = row.suspect && row.id() != "m0";
            assert!(!marked && row.attempt == 0, "held {held}: {row:?}");
        }
    }
}

#[test]
fn it_is_drained_half_a_second_after_the_grace_time_even_if_the_store_never_answers() {
    for kinds in [
        vec![Kind::Settle],
        vec![Kind::Release],
        vec![
            Kind::Fetch,
            Kind::Acquire,
            Kind::Settle,
            Kind::Release,
            Kind::Renew,
        ],
    ] {
        let mut rig = Rig::new(settings(), of(40, false));
        rig.step();
        rig.hold.extend(kinds);
        for id in rig.in_flight() {
            rig.outcome(&id, ok());
        }
        drain(&mut rig);
        rig.run(ms(2_500));
        let now = rig.time();
        assert!(rig.machine.is_drained(now));
    }
}

#[test]
fn a_drain_leaves_at_its_deadline_while_an_acquisition_is_under_way() {
    let mut rig = Rig::new(settings(), of(0, false));
    rig.hold.insert(Kind::Acquire);
    rig.step();
    drain(&mut rig);
    rig.run(ms(2_001));
    assert!(rig.store.members.is_empty(), "it left");
}

#[test]
fn partitions_granted_after_the_drain_began_are_given_back() {
    let mut rig = Rig::new(settings(), of(40, false));
    rig.hold.insert(Kind::Acquire);
    rig.step();
    let before = drain(&mut rig);
    rig.run(ms(100));
    rig.let_go(Kind::Acquire);
    rig.run(ms(100));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert!(nothing_new(&rig, before));
    assert!(rig.store.members.is_empty());
    assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
}

#[test]
fn a_drain_waits_for_a_registration_under_way_so_that_none_stays_behind() {
    let mut rig = Rig::new(settings(), of(0, false));
    rig.hold.insert(Kind::Renew);
    rig.step();
    drain(&mut rig);
    rig.run(ms(100));
    rig.let_go(Kind::Renew);
    rig.run(ms(100));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert!(rig.store.members.is_empty());
}

#[test]
fn a_lost_reply_to_the_last_release_is_asked_for_again() {
    let mut rig = Rig::new(settings(), of(0, false));
    rig.step();
    rig.hold.insert(Kind::Release);
    drain(&mut rig);
    rig.lose_reply(Kind::Release);
    rig.let_go(Kind::Release);
    rig.run(ms(1_000));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
    assert!(rig.store.members.is_empty());
}

#[test]
fn a_machine_that_stays_away_from_a_broker_that_is_down_is_drained_at_once() {
    let mut rig = Rig::new(settings(), of(40, false));
    rig.broker_is_up = false;
    rig.script(|_| Some(unavailable()));
    rig.run(ms(20_000));
    drain(&mut rig);
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A drain at any moment: nothing new, over in time, nothing left behind, no attempt without an
    /// outcome, no mark on what did not run.
    #[test]
    fn a_drain_at_any_moment(
        abandoned: bool,
        alone in 0..12_u16,
        before in prop::collection::vec((0..7_u8, 0..60_u64), 0..25),
        after in prop::collection::vec(0..5_u8, 0..12),
    ) {
        let mut store = of(30, abandoned);
        store.row_mut(&format!("m{alone}")).alone = true;
        store.row_mut(&format!("m{}", alone + 1)).suspect = true;
        let mut rig = Rig::new(settings(), store);
        let mut outcomes = std::collections::BTreeMap::<String, u32>::new();
        let end = |rig: &mut Rig, choice: u8, outcomes: &mut std::collections::BTreeMap<String, u32>| {
            let Some(id) = rig.in_flight().first().cloned() else { return };
            *outcomes.entry(id.clone()).or_default() += 1;
            rig.outcome(&id, match choice { 0 => ok(), 1 => transient(), 2 => unavailable(), _ => unknown() });
        };
        for (choice, wait) in before {
            match choice {
                0..4 => end(&mut rig, choice, &mut outcomes),
                4 => { rig.hold.insert(Kind::Settle); }
                5 => { rig.hold.insert(Kind::Fetch); }
                _ => { rig.let_go(Kind::Settle); rig.let_go(Kind::Fetch); }
            }
            rig.run(ms(wait));
        }
        rig.let_go(Kind::Fetch);
        let start = rig.now;
        let mark = drain(&mut rig);
        rig.let_go(Kind::Settle);
        for choice in after {
            if choice < 4 { end(&mut rig, choice, &mut outcomes); }
            rig.run(ms(70));
        }
        let flying = rig.in_flight();
        while !rig.machine.is_drained(rig.time()) {
            rig.run(ms(10));
            prop_assert!(rig.now <= start + ms(2_500));
        }
        prop_assert!(nothing_new(&rig, mark), "{:?}", &rig.log[mark..]);
        prop_assert!(rig.store.members.is_empty());
        prop_assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
        for row in rig.store.rows.values() {
            let had = outcomes.get(row.id()).copied().unwrap_or(0);
            let flies = flying.iter().any(|id| id == row.id());
            // One that runs alone has its attempt recorded ahead.
            prop_assert!(row.attempt <= had + u32::from(flies), "{row:?} had {had}");
            prop_assert!(!row.suspect || flies || row.id() == format!("m{}", alone + 1), "{row:?}");
        }
    }
}

#[test]
fn a_drain_does_not_wait_for_a_renewal() {
    let mut rig = Rig::new(settings(), of(0, false));
    rig.run(ms(100));
    rig.hold.insert(Kind::Renew);
    while rig.waiting.is_empty() {
        rig.run(ms(100));
    }
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    assert!(rig.machine.is_drained(rig.time()));
    assert!(rig.store.members.is_empty());
}

#[test]
fn what_runs_alone_as_a_drain_begins_is_judged_all_the_same() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "", ms(0));
    store.row_mut("m").alone = true;
    let mut rig = Rig::new(settings(), store);
    rig.run(ms(10));
    assert_eq!(rig.in_flight(), ["m"]);
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    rig.outcome("m", unknown());
    rig.run(ms(10));
    assert_eq!(rig.store.row("m").attempt, 1, "the probe after it answered");
}

#[test]
fn what_waits_for_its_probe_as_a_drain_begins_does_not_run() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "", ms(0));
    store.row_mut("m").alone = true;
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Probe);
    rig.run(ms(10));
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    rig.let_go(Kind::Probe);
    rig.run(ms(10));
    assert!(rig.ran.is_empty());
    assert!(rig.machine.is_drained(rig.time()));
}

/// What runs belongs to a grant that was lost: no partition is there whose hand-over would end.
#[test]
fn a_drain_that_waits_for_an_execution_alone_ends_with_its_grace() {
    let mut settings = settings();
    settings.ttl = ms(50_000);
    let mut rig = Rig::new(settings, of(1, false));
    rig.step();
    assert_eq!(rig.flying.len(), 1);
    rig.hold.insert(Kind::Acquire);
    rig.store.members.clear();
    rig.run(ms(11_000));
    assert_eq!(rig.machine.partitions().count(), 0);
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    assert!(!rig.machine.is_drained(rig.time()));
    let end = now + ms(2_000);
    assert_eq!(rig.machine.deadline(now), Some(end));
    rig.run(ms(2_000));
    assert!(rig.machine.is_drained(rig.time()));
    assert!(rig.store.members.is_empty());
}
