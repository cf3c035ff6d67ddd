//! Rule 3: settles are batched, fenced, guarded, and repeated unchanged when their reply was lost.

use iobox_core::{
    dispatch::{Command, Event, Failure},
    store::{Change, Settlement, State, Verdict},
};

use crate::{
    rig::{Kind, Rig, lost, ms, ok, permanent, settings, transient},
    store::Store,
};

fn rig_of(count: usize, key: &str) -> Rig {
    let mut store = Store::new(1);
    for n in 0..count {
        store.enqueue(0, &format!("m{n}"), key, ms(0));
    }
    let mut settings = settings();
    settings.settle_linger = ms(5);
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig
}

pub(crate) fn settlements(command: &Command) -> &[Settlement] {
    match command {
        Command::Settle(_, settlements) => settlements,
        other => panic!("{other:?}"),
    }
}

#[test]
fn outcomes_wait_a_moment_for_each_other() {
    let mut rig = rig_of(8, "");
    let started = rig.now;
    rig.outcome("m0", ok());
    rig.outcome("m1", ok());
    assert_eq!(rig.count(Kind::Settle), 0);
    rig.run(ms(6));
    assert_eq!(rig.count(Kind::Settle), 1);
    assert_eq!(rig.settled.len(), 2);
    assert!(rig.now - started <= ms(7));
}

#[test]
fn a_full_batch_is_settled_at_once() {
    let mut rig = rig_of(12, "");
    for n in 0..4 {
        rig.outcome(&format!("m{n}"), ok());
    }
    assert_eq!((rig.count(Kind::Settle), rig.settled.len()), (1, 4));
}

/// Where several settles gain from being sent side by side, one goes as soon as its part of a batch is
/// there, whatever else is in flight.
#[test]
fn a_part_of_a_batch_is_settled_at_once_where_several_settles_may_be_sent() {
    let mut store = Store::new(2);
    for n in 0..6 {
        store.enqueue(n % 2, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    settings.settles = 2;
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig.hold.insert(Kind::Settle);
    let first = rig.in_flight();
    rig.outcome(&first[0], ok());
    assert_eq!(rig.count(Kind::Settle), 0);
    rig.outcome(&first[1], ok());
    assert_eq!(rig.count(Kind::Settle), 1);
    assert!(!rig.in_flight().is_empty());
}

#[test]
fn a_settle_whose_reply_was_lost_is_repeated_unchanged() {
    for applied in [false, true] {
        let mut rig = rig_of(3, "");
        rig.hold.insert(Kind::Settle);
        rig.outcome("m0", ok());
        rig.outcome("m1", transient());
        rig.outcome("m2", permanent());
        rig.run(ms(10));
        let first = rig.held_back(Kind::Settle);
        if applied {
            rig.effect(&first);
        }
        rig.reply(lost(&first));
        rig.run(ms(2_000));
        let again = rig.held_back(Kind::Settle);
        assert_eq!(settlements(&first), settlements(&again));
        let reply = rig.effect(&again);
        rig.reply(reply);
        rig.step();
        assert_eq!(rig.store.row("m0").state, State::Done);
        assert_eq!(rig.store.row("m1").state, State::Retrying);
        assert_eq!(rig.store.row("m2").state, State::Dead);
        assert!(
            rig.store
                .rows
                .values()
                .all(|row| row.attempt == 1 && row.revision == 1)
        );
        assert_eq!(rig.machine.buffered().0, 0);
    }
}

/// A program hears of a failure when the store confirmed it, once, and never of one that is not
/// recorded under its lease.
#[test]
fn a_failure_is_told_when_it_is_recorded() {
    for applied in [false, true] {
        let mut rig = rig_of(3, "k");
        rig.hold.insert(Kind::Settle);
        rig.outcome("m0", transient());
        rig.run(ms(10));
        let first = rig.held_back(Kind::Settle);
        if applied {
            rig.effect(&first);
        }
        assert_eq!(failures(&rig), [""; 0]);
        rig.reply(lost(&first));
        rig.run(ms(100));
        assert_eq!(failures(&rig), [""; 0]);
        rig.let_go(Kind::Settle);
        assert_eq!(failures(&rig), ["put back m0 1 false"]);
        rig.script(|_| Some(permanent()));
        rig.run(ms(60_000));
        assert_eq!(failures(&rig)[1..], ["dead m0 2 true"]);
    }
}

#[test]
fn a_failure_that_is_not_recorded_is_not_told() {
    let mut rig = rig_of(2, "");
    rig.hold.insert(Kind::Settle);
    rig.outcome("m0", permanent());
    rig.run(ms(10));
    // An operator discards it meanwhile; then somebody else has the partition.
    rig.store.discard("m0");
    rig.answer(Kind::Settle);
    rig.outcome("m1", permanent());
    rig.run(ms(10));
    rig.store.owners.values_mut().next().unwrap().1 += 1;
    rig.answer(Kind::Settle);
    assert_eq!(failures(&rig), [""; 0]);
    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. });
    assert!(rig.events.iter().any(lost));
}

/// What the machine told of failures.
fn failures(rig: &Rig) -> Vec<String> {
    let told = |what, failure: &Failure| {
        let id = failure.id.as_ref().expect("the row can be decoded");
        let (attempt, halts) = (failure.attempt, failure.halts);
        format!("{what} {id} {attempt} {halts}")
    };
    let events = rig.events.iter();
    events
        .filter_map(|event| match event {
            Event::PutBack(failure) => Some(told("put back", failure)),
            Event::Dead(failure) => Some(told("dead", failure)),
            _ => None,
        })
        .collect()
}

#[test]
fn an_outcome_that_comes_after_a_lost_settle_goes_behind_it() {
    let mut rig = rig_of(3, "");
    rig.hold.insert(Kind::Settle);
    rig.outcome("m0", ok());
    rig.run(ms(10));
    rig.outcome("m1", ok());
    let first = rig.held_back(Kind::Settle);
    rig.reply(lost(&first));
    rig.run(ms(2_000));
    let again = rig.held_back(Kind::Settle);
    assert_eq!(settlements(&again)[0], settlements(&first)[0]);
    assert_eq!(settlements(&again).len(), 2);
}

#[test]
fn an_answer_of_the_wrong_length_settles_nothing() {
    let mut rig = rig_of(2, "");
    rig.hold.insert(Kind::Settle);
    rig.outcome("m0", ok());
    rig.outcome("m1", ok());
    let Command::Settle(call, first) = rig.held_back(Kind::Settle) else {
        unreachable!()
    };
    let now = rig.time();
    rig.machine
        .settled(call, Ok(vec![iobox_core::store::Settled::Applied]), now);
    rig.run(ms(100));
    assert_eq!(settlements(&rig.held_back(Kind::Settle)), first);
}

#[test]
fn a_lost_lease_drops_the_partition() {
    let mut store = Store::new(2);
    for n in 0..4 {
        store.enqueue(n % 2, &format!("m{n}"), "", ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.step();
    // Somebody else has the first partition.
    let slot = rig.store.owners.values_mut().next().unwrap();
    *slot = (
        Some(iobox_core::store::InstanceId::new(uuid::Uuid::from_u128(
            99,
        ))),
        slot.1 + 1,
    );
    rig.store
        .members
        .insert(slot.0.unwrap(), (ms(0), ms(60_000)));
    rig.hold.insert(Kind::Acquire);
    rig.outcome("m0", ok());
    rig.run(ms(10));
    let owned: Vec<_> = rig.machine.partitions().map(|(p, _)| p.number()).collect();
    assert_eq!(owned, [1]);
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::LeaseLost { .. }))
    );
    assert_eq!(rig.store.row("m0").state, State::Pending);
    // The outcome of what is still in flight there settles nothing.
    let before = rig.settled.len();
    if rig.in_flight().contains(&"m2".to_owned()) {
        rig.outcome("m2", ok());
    }
    rig.run(ms(100));
    assert!(
        rig.settled[before..]
            .iter()
            .all(|s| s.partition.number() == 1)
    );
}

#[test]
fn a_superseded_row_is_dropped_and_its_followers_are_fetched_anew() {
    let mut rig = rig_of(3, "k");
    rig.hold.insert(Kind::Settle);
    rig.outcome("m0", transient());
    rig.run(ms(10));
    // An operator discards it meanwhile.
    rig.store.discard("m0");
    rig.let_go(Kind::Settle);
    assert!(
        rig.events
            .iter()
            .any(|event| matches!(event, Event::Superseded { .. }))
    );
    rig.script(|_| Some(ok()));
    rig.run(ms(3_000));
    assert_eq!(rig.ran, ["m0", "m1", "m2"]);
    assert_eq!(rig.store.count(State::Done), 2);
}

#[test]
fn a_settlement_carries_the_absolute_attempt() {
    let mut rig = rig_of(1, "");
    for attempt in 1..=4 {
        rig.outcome("m0", transient());
        rig.run(ms(100_000));
        let last = rig.settled.last().unwrap();
        assert_eq!(last.attempt, attempt);
        assert!(matches!(
            last.change,
            Change::Verdict(Verdict::Retry { .. })
        ));
    }
}
