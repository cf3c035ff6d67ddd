//! Messages that run alone: what they wait for, and what ends their turn.

use iobox_core::{
    dispatch::{BreakerState, Time},
    store::{Change, State, Verdict},
};

use crate::{
    rig::{Kind, Rig, ms, ok, settings, unknown},
    store::Store,
};

#[test]
fn it_waits_for_marks_that_are_under_way() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "", ms(0));
    // The last owner died: the message is marked before it runs.
    store.abandon();
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
    rig.store.discard("suspect");
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

/// Between two that run alone the others have as long as the first one took.
#[test]
fn the_next_message_that_runs_alone_has_its_turn_at_a_known_time() {
    let mut store = Store::new(1);
    for n in 0..2 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
        store.row_mut(&format!("m{n}")).alone = true;
    }
    let mut settings = settings();
    settings.ttl = ms(50_000);
    settings.poll_min = ms(60_000);
    settings.poll_max = ms(60_000);
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig.now += ms(700);
    rig.outcome("m0", ok());
    assert!(rig.in_flight().is_empty());
    assert_eq!(rig.machine.deadline(rig.time()), Some(Time::at(ms(1_400))));
    rig.run(ms(700));
    assert_eq!(rig.in_flight(), ["m1"]);
    // With none left to run alone there is nothing to wait for.
    rig.now += ms(700);
    rig.outcome("m1", ok());
    assert_eq!(rig.machine.deadline(rig.time()), Some(Time::at(ms(10_000))));
}

/// They come back spread over the second half of the longest wait, not all at once.
#[test]
fn messages_beyond_those_that_may_wait_to_run_alone_are_put_back_for_a_while() {
    let mut store = Store::new(1);
    for n in 0..60 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
        store.row_mut(&format!("m{n}")).alone = true;
    }
    let mut settings = settings();
    settings.batch = 100;
    settings.fetch = 100;
    let cap = settings.retry.ceiling(u32::MAX);
    let mut rig = Rig::new(settings, store);
    rig.run(ms(10));
    let mut waits = Vec::new();
    for settlement in &rig.settled {
        if let Change::Verdict(Verdict::Unknown { after, alone, .. }) = &settlement.change {
            assert!(*alone && settlement.attempt == 0);
            waits.push(*after);
        }
    }
    assert_eq!(waits.len(), 60 - 3);
    assert!(waits.iter().all(|wait| *wait >= cap / 2 && *wait <= cap));
    assert!(waits.iter().any(|wait| *wait < cap * 3 / 5));
    assert!(waits.iter().any(|wait| *wait > cap * 9 / 10));
}

/// A fetch that finds messages in front of it takes it from memory although it has its turn: it is taken
/// back, and the next one has its turn.
#[test]
fn one_that_others_come_in_front_of_gives_its_turn_away() {
    let mut store = Store::new(1);
    let early = store.draw();
    store.enqueue(0, "suspect", "a", ms(0));
    store.row_mut("suspect").suspect = true;
    let mut settings = settings();
    settings.poll_min = ms(100);
    settings.poll_max = ms(100);
    let mut rig = Rig::new(settings, store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(1_000));
    rig.hold.extend([Kind::Fetch, Kind::Renew]);
    // Its mark is recorded, and the lease covers no execution any more.
    rig.run(ms(4_000));
    rig.answer(Kind::Settle);
    assert!(rig.ran.is_empty());
    rig.find_aside(early, "early", "a");
    rig.let_go(Kind::Renew);
    assert!(rig.ran.is_empty(), "it is being taken back");
    rig.let_go(Kind::Settle);
    rig.script(|_| Some(ok()));
    rig.let_go(Kind::Fetch);
    rig.run(ms(20_000));
    assert_eq!(rig.ran, ["early", "suspect"]);
    assert_eq!(rig.store.count(State::Done), 2);
}
