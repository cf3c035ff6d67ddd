//! Suspects: after an owner died, messages are marked before they run; what is found marked runs
//! alone, and only such crashes count.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    dispatch::{DeadLetterPolicy, Settings},
    store::{Change, Mark, State},
};

use crate::{
    rig::{Ids, Kind, Rig, ms, ok, permanent, settings, transient, unavailable},
    store::Store,
};

fn of(count: usize, key: impl Fn(usize) -> String) -> Store {
    let mut store = Store::new(1);
    for n in 0..count {
        store.enqueue(0, &format!("m{n}"), &key(n), ms(0));
    }
    store
}

/// The process dies, and another starts after its lease.
fn crash(rig: Rig, settings: Settings, ids: &Arc<Ids>) -> Rig {
    let now = rig.now + ms(6_000);
    Rig::with(settings, rig.store, Arc::<Ids>::clone(ids), now)
}

fn marks(rig: &Rig) -> Vec<i64> {
    rig.settled
        .iter()
        .filter(|s| matches!(s.change, Change::Mark(Mark::Suspect { .. })))
        .map(|s| s.seq.0)
        .collect()
}

#[test]
fn each_of_the_first_messages_is_marked_before_it_runs_until_what_may_have_run_has_settled() {
    let mut store = of(12, |_| String::new());
    store.abandon();
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(100));
    assert!(
        rig.ran.is_empty(),
        "nothing runs before its mark is recorded"
    );
    rig.let_go(Kind::Settle);
    let mut done = 0;
    while let Some(id) = rig.in_flight().first().cloned() {
        let marked = rig.store.rows.values().filter(|row| row.suspect).count();
        // What may be in flight, and what may be executed and not settled yet.
        if done < 3 + 4 {
            assert!(rig.store.row(&id).suspect, "{id} after {done}");
            assert!(marked <= 3);
        }
        assert_eq!(rig.store.row(&id).attempt, 0, "a mark is no attempt");
        rig.outcome(&id, ok());
        rig.run(ms(10));
        done += 1;
    }
    assert_eq!(done, 12);
    let marked = marks(&rig).len();
    assert!((7..=10).contains(&marked), "{marked} marked");
    assert!(
        rig.store
            .rows
            .values()
            .all(|row| !row.suspect && row.attempt == 1)
    );
}

#[test]
fn nobody_is_marked_after_a_clean_release() {
    let mut rig = Rig::new(settings(), of(12, |_| String::new()));
    rig.script(|_| Some(ok()));
    rig.run(ms(1_000));
    assert_eq!((rig.store.count(State::Done), marks(&rig).len()), (12, 0));
}

#[test]
fn a_mark_whose_reply_was_lost_is_repeated_and_counts_once() {
    let mut store = of(1, |_| "k".into());
    store.abandon();
    store.row_mut("m0").suspect = true;
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(10));
    for _ in 0..3 {
        rig.lose_reply(Kind::Settle);
        rig.run(ms(1_500));
    }
    rig.let_go(Kind::Settle);
    let row = rig.store.row("m0");
    assert_eq!((row.attempt, row.crashes, row.suspect), (1, 1, true));
    rig.outcome("m0", ok());
    rig.run(ms(10));
    let row = rig.store.row("m0");
    assert_eq!((row.state, row.attempt, row.crashes), (State::Done, 1, 0));
}

#[test]
fn a_suspect_runs_alone_with_its_attempt_recorded_first() {
    let mut store = of(8, |_| String::new());
    store.row_mut("m3").suspect = true;
    let mut rig = Rig::new(settings(), store);
    let mut ran = false;
    while rig.store.count(State::Done) < 8 {
        rig.run(ms(10));
        let flying = rig.in_flight();
        if flying.contains(&"m3".to_owned()) {
            ran = true;
            assert_eq!(flying, ["m3"]);
            let row = rig.store.row("m3");
            assert_eq!((row.attempt, row.crashes, row.suspect), (1, 1, true));
        }
        for id in flying {
            rig.outcome(&id, ok());
        }
        assert!(rig.now < ms(60_000));
    }
    assert!(ran);
    assert!(rig.store.rows.values().all(|row| row.attempt == 1));
}

#[test]
fn an_outcome_takes_the_crashes_back_and_an_unavailable_one_the_attempt_too() {
    for (outcome, attempt) in [(transient(), 1), (unavailable(), 0)] {
        let mut store = of(1, |_| "k".into());
        store.row_mut("m0").suspect = true;
        let mut rig = Rig::new(settings(), store);
        rig.run(ms(10));
        rig.outcome("m0", outcome);
        rig.run(ms(10));
        let row = rig.store.row("m0");
        assert_eq!((row.attempt, row.crashes, row.suspect), (attempt, 0, false));
        assert!(row.is_open());
    }
}

/// Runs until nothing is open, with a process that dies whenever `deadly` is in flight.
fn live(store: Store, deadly: &'static str) -> (Rig, u32) {
    let mut settings = settings();
    settings.max_crashes = 2;
    let ids = Arc::new(Ids::default());
    let mut rig = Rig::with(settings.clone(), store, Arc::<Ids>::clone(&ids), ms(0));
    let mut crashes = 0;
    loop {
        rig.run(ms(20));
        let flying = rig.in_flight();
        if flying.iter().any(|id| id == deadly) {
            crashes += 1;
            rig = crash(rig, settings.clone(), &ids);
            if crashes < 10 {
                continue;
            }
            return (rig, crashes);
        }
        for id in flying {
            rig.outcome(&id, ok());
        }
        let open = rig
            .store
            .rows
            .values()
            .any(|row| row.is_open() && !rig.store.is_blocked(row));
        if !open || rig.now > Duration::from_secs(600) {
            return (rig, crashes);
        }
    }
}

#[test]
fn a_message_that_kills_its_process_ends_dead_and_takes_nobody_along() {
    let (rig, crashes) = live(
        of(20, |n| {
            if n % 2 == 0 {
                "k".into()
            } else {
                String::new()
            }
        }),
        "m4",
    );
    let row = rig.store.row("m4");
    assert_eq!(
        (row.state, row.halts),
        (State::Dead, true),
        "after {crashes} crashes"
    );
    assert!(
        crashes <= 4,
        "one unmarked, one marked, two alone: {crashes}"
    );
    assert_eq!(rig.store.count(State::Dead), 1);
    // Two of the key before it and ten without a key.
    assert_eq!(rig.store.count(State::Done), 2 + 10);
}

#[test]
fn a_message_that_goes_alone_and_kills_its_process_ends_dead() {
    let mut store = of(3, |_| String::new());
    store.row_mut("m1").alone = true;
    let (rig, crashes) = live(store, "m1");
    assert_eq!(
        rig.store.row("m1").state,
        State::Dead,
        "after {crashes} crashes"
    );
    assert_eq!(rig.store.count(State::Done), 2);
}

#[test]
fn the_crash_of_a_neighbour_does_not_count() {
    let mut store = of(3, |_| String::new());
    store.abandon();
    let ids = Arc::new(Ids::default());
    let mut rig = Rig::with(settings(), store, Arc::<Ids>::clone(&ids), ms(0));
    rig.run(ms(20));
    assert_eq!(rig.in_flight().len(), 3);
    let rig = crash(rig, settings(), &ids);
    assert!(
        rig.store
            .rows
            .values()
            .all(|row| row.suspect && row.crashes == 0 && row.attempt == 0)
    );
}

#[test]
fn messages_that_fail_on_and_on_do_not_use_up_the_caution() {
    let mut store = of(12, |_| String::new());
    store.abandon();
    let mut rig = Rig::new(settings(), store);
    rig.script(|_| Some(transient()));
    rig.run(ms(2_000));
    assert!(rig.settled.len() > 40);
    rig.script(|_| None);
    rig.run(ms(60_000));
    assert_eq!(rig.in_flight().len(), 3);
    for id in rig.in_flight() {
        assert!(rig.store.row(&id).suspect, "{id} is not marked");
    }
}

#[test]
fn a_suspect_that_a_drain_keeps_from_running_stays_one() {
    let mut store = of(1, |_| "k".into());
    store.row_mut("m0").suspect = true;
    store.row_mut("m0").crashes = 1;
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(10));
    let now = rig.time();
    rig.machine.drain(now);
    rig.let_go(Kind::Settle);
    rig.run(ms(1_000));
    assert_eq!(marks(&rig).len(), 2, "the mark of its run, and the old one");
    assert!(rig.ran.is_empty());
    let row = rig.store.row("m0");
    assert_eq!((row.attempt, row.crashes, row.suspect), (0, 1, true));
    let now = rig.time();
    assert!(rig.machine.is_drained(now));
}

/// The owner before may have executed it: an attempt that fails says nothing about that one.
#[test]
fn the_first_messages_after_an_owner_died_are_uncertain_from_then_on() {
    for (outcome, halts) in [(transient(), false), (permanent(), true)] {
        let mut store = of(1, |_| "k".into());
        store.abandon();
        let mut settings = settings();
        settings.policy = DeadLetterPolicy::Skip;
        let mut rig = Rig::new(settings, store);
        rig.run(ms(100));
        rig.outcome("m0", outcome);
        rig.run(ms(10));
        let row = rig.store.row("m0");
        assert_eq!((row.uncertain, row.halts), (true, halts));
    }
}

#[test]
fn messages_of_a_partition_that_nobody_left_behind_are_not_uncertain() {
    let mut settings = settings();
    settings.policy = DeadLetterPolicy::Skip;
    let mut rig = Rig::new(settings, of(2, |n| n.to_string()));
    rig.run(ms(100));
    rig.outcome("m0", transient());
    rig.outcome("m1", permanent());
    rig.run(ms(10));
    assert!(!rig.store.row("m0").uncertain);
    assert!(!rig.store.row("m1").halts);
}

#[test]
fn a_mark_that_an_operator_came_before_leaves_nothing_under_way() {
    let mut store = of(1, |_| "k".into());
    store.abandon();
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(10));
    rig.store.discard("m0");
    rig.let_go(Kind::Settle);
    // What runs alone waits until nothing else is under way.
    rig.store.enqueue(0, "alone", "", rig.now);
    rig.store.row_mut("alone").suspect = true;
    rig.run(ms(3_000));
    assert_eq!(rig.in_flight(), ["alone"]);
    rig.outcome("alone", ok());
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    assert!(rig.machine.is_drained(rig.time()));
}
