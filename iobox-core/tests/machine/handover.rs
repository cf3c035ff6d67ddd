//! Hand-over: what is given back, and when.

use std::time::Duration;

use iobox_core::{
    dispatch::{Command, Event},
    partition::Partition,
    store::State,
};

use crate::{
    lease::{of, other, owned, owner_with_a_late_acquisition},
    rig::{Kind, Rig, ms, ok, settings},
};

#[test]
fn a_partition_that_is_granted_again_in_a_drain_is_given_back_when_what_runs_of_it_has_ended() {
    let (mut rig, late) = owner_with_a_late_acquisition();
    rig.store.enqueue(0, "a0", "a", rig.now);
    rig.run(ms(1_000));
    assert_eq!(rig.in_flight(), ["a0"]);
    // The store gives it higher epochs, and says so in a reply that comes in the drain.
    rig.effect(&late);
    rig.hold.insert(Kind::Acquire);
    rig.run(ms(1_000));
    let now = rig.time();
    rig.machine.drain(now);
    rig.let_go(Kind::Acquire);
    rig.run(ms(500));
    let owner = |rig: &Rig| rig.store.owners[&Partition::new(0)].0;
    assert_eq!(rig.in_flight(), ["a0"]);
    assert!(
        owner(&rig).is_some(),
        "given back while a message of it runs"
    );
    rig.outcome("a0", ok());
    rig.run(ms(1_000));
    assert_eq!(owner(&rig), None);
}

/// Of two machines with one id, as two copies of a virtual machine may be, the one that slept does not
/// know what it lost. It holds on to what the store grants it now.
#[test]
fn what_was_granted_last_is_not_the_surplus() {
    let mut rig = Rig::new(settings(), of(0));
    rig.run(ms(100));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    // The copy lost all of it to another instance, and kept the id alive.
    let until = Duration::from_secs(100_000);
    rig.store.members.insert(other(1), (ms(1), until));
    for (owner, epoch) in rig.store.owners.values_mut() {
        (*owner, *epoch) = (Some(other(1)), *epoch + 1);
    }
    // The other one gives back the two that are not its due.
    for number in [2, 3] {
        rig.store.owners.get_mut(&Partition::new(number)).unwrap().0 = None;
    }
    rig.run(ms(3_000));
    assert_eq!(owned(&rig), [2, 3]);
    for number in [2, 3] {
        let (owner, epoch) = rig.store.owners[&Partition::new(number)];
        assert!(owner.is_some() && epoch == 3, "it goes to and fro: {epoch}");
    }
}

#[test]
fn the_surplus_is_handed_over_when_it_is_quiet_and_not_before() {
    let mut rig = Rig::new(settings(), of(40));
    rig.step();
    let flying: Vec<String> = rig.in_flight();
    // Somebody joins, later than this one: half of the partitions are his due.
    rig.store
        .members
        .insert(other(1), (ms(1), Duration::from_secs(100_000)));
    rig.run(ms(1_500));
    let surplus = |id: &String| rig.store.row(id).partition.number() >= 2;
    let slow: Vec<String> = flying.iter().filter(|id| surplus(id)).cloned().collect();
    let held: Vec<u8> = owned(&rig);
    assert_eq!(
        held.len(),
        2 + slow.len(),
        "what is in flight stays: {held:?}"
    );
    for id in slow {
        let partition = rig.store.row(&id).partition.number();
        assert!(owned(&rig).contains(&partition));
        rig.outcome(&id, ok());
        rig.run(ms(5));
        assert_eq!(
            rig.store.row(&id).state,
            State::Done,
            "settled before it is released"
        );
        assert!(!owned(&rig).contains(&partition));
    }
    assert_eq!(owned(&rig), [0, 1]);
    let free = rig
        .store
        .owners
        .values()
        .filter(|(owner, _)| owner.is_none())
        .count();
    assert_eq!(free, 2);
    rig.run(ms(20_000));
    assert_eq!(owned(&rig), [0, 1], "it does not take them back");
}

#[test]
fn a_surplus_partition_that_does_not_become_quiet_is_released_at_the_deadline() {
    let mut settings = settings();
    settings.max_in_flight = 8;
    let mut rig = Rig::new(settings.clone(), of(40));
    rig.step();
    rig.store
        .members
        .insert(other(1), (ms(1), Duration::from_secs(100_000)));
    rig.run(ms(1_500));
    let longest = settings.execute_timeout + settings.settle_timeout + settings.grace;
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    rig.run(longest);
    assert_eq!(owned(&rig), [0, 1]);
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::Stuck { .. }))
    );
}

#[test]
fn nothing_new_runs_in_a_partition_that_is_handed_over() {
    let mut rig = Rig::new(settings(), of(400));
    rig.step();
    rig.store
        .members
        .insert(other(1), (ms(1), Duration::from_secs(100_000)));
    rig.run(ms(1_100));
    let before = rig.ran.len();
    for _ in 0..20 {
        if let Some(id) = rig.in_flight().first().cloned() {
            rig.outcome(&id, ok());
        }
        rig.run(ms(10));
    }
    for id in &rig.ran[before..] {
        assert!(rig.store.row(id).partition.number() < 2, "{id}");
    }
}

fn released(rig: &mut Rig) -> Vec<(u8, bool)> {
    let Command::Release(request) = rig.held_back(Kind::Release) else {
        unreachable!()
    };
    let partitions = request.partitions.iter();
    partitions
        .map(|grant| (grant.partition.number(), grant.abandoned))
        .collect()
}

/// Hand-over waits for an execution, its settlement and the grace time; what still runs then is as if
/// its owner had died.
#[test]
fn what_still_runs_at_the_deadline_is_given_back_as_abandoned() {
    let mut settings = settings();
    settings.max_in_flight = 8;
    let mut rig = Rig::new(settings, of(40));
    rig.hold.insert(Kind::Release);
    rig.step();
    let until = Duration::from_secs(100_000);
    rig.store.members.insert(other(1), (ms(1), until));
    // It learns after a second, and waits for 1,000 + 500 + 2,000 ms.
    rig.run(ms(4_499));
    assert_eq!(owned(&rig), [0, 1, 2, 3]);
    rig.run(ms(1));
    assert_eq!(owned(&rig), [0, 1]);
    assert_eq!(released(&mut rig), [(2, true), (3, true)]);
}

#[test]
fn a_quiet_partition_is_given_back_as_abandoned_only_while_it_is_worked_with_caution() {
    for died in [false, true] {
        let mut store = of(0);
        if died {
            store.abandon();
        }
        let mut rig = Rig::new(settings(), store);
        rig.hold.insert(Kind::Release);
        rig.step();
        let until = Duration::from_secs(100_000);
        rig.store.members.insert(other(1), (ms(1), until));
        rig.run(ms(1_100));
        assert_eq!(released(&mut rig), [(2, died), (3, died)]);
        let stuck = |event: &Event| matches!(event, Event::Stuck { .. });
        assert!(!rig.events.iter().any(stuck), "nothing was under way");
    }
}
