//! Messages that run alone: what they wait for, and what ends their turn.

use iobox_core::{
    dispatch::BreakerState,
    store::{InstanceId, State},
};
use uuid::Uuid;

use crate::{
    rig::{Kind, Rig, ms, ok, settings, unknown},
    store::Store,
};

#[test]
fn it_waits_for_marks_that_are_under_way() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "", ms(0));
    // The last owner died: the message is marked before it runs.
    let dead = InstanceId::new(Uuid::from_u128(77));
    let owners = store.owners.values_mut();
    owners.for_each(|slot| *slot = (Some(dead), 1));
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(10));
    rig.store.enqueue(0, "alone", "", rig.now);
    rig.store.row_mut("alone").alone = true;
    rig.run(ms(2_000));
    assert_eq!((rig.count(Kind::Probe), rig.ran.len()), (0, 0));
    rig.let_go(Kind::Settle);
    rig.run(ms(100));
    assert_eq!(rig.in_flight(), ["alone"]);
    rig.outcome("alone", ok());
    rig.run(ms(100));
    assert_eq!(rig.in_flight(), ["m"]);
}

#[test]
fn one_that_an_operator_takes_away_leaves_its_turn_to_the_others() {
    let mut store = Store::new(1);
    store.enqueue(0, "suspect", "", ms(0));
    store.enqueue(0, "m", "", ms(0));
    store.row_mut("suspect").suspect = true;
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(10));
    let row = rig.store.row_mut("suspect");
    row.state = State::Discarded;
    row.revision += 1;
    rig.let_go(Kind::Settle);
    rig.run(ms(100));
    assert_eq!(rig.in_flight(), ["m"]);
}

/// A probe that failed says that the broker was down, not that it is up when the message runs.
#[test]
fn it_asks_again_after_a_probe_that_failed() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "", ms(0));
    store.row_mut("m").alone = true;
    let mut rig = Rig::new(settings(), store);
    rig.broker_is_up = false;
    rig.run(ms(100));
    assert_eq!(rig.machine.breaker(), BreakerState::Open);
    assert!(rig.ran.is_empty());
    rig.broker_is_up = true;
    rig.run(ms(2_000));
    assert_eq!(rig.in_flight(), ["m"]);
    rig.outcome("m", unknown());
    rig.run(ms(10));
    assert_eq!(rig.store.row("m").attempt, 1, "probes before and after it");
}
