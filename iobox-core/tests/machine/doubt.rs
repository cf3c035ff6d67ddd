//! Doubt: what an owner that died may have executed halts its key when it dies, whatever came in
//! front of it since; nobody skips a message that may have arrived.

use std::sync::Arc;

use iobox_core::{
    dispatch::{DeadLetterPolicy, Settings},
    store::State,
};

use crate::{
    rig::{Ids, Rig, ms, ok, permanent, settings, transient},
    store::Store,
};

/// Dead messages are skipped. The dead owner had at most 3 + 4 + 2 * 4 messages in memory.
fn skips() -> Settings {
    let mut settings = settings();
    settings.policy = DeadLetterPolicy::Skip;
    settings
}

/// `front` messages without a key, then those of `keys`, on a partition whose owner died.
fn left_behind(front: usize, keys: &[&str]) -> Store {
    let mut store = Store::new(1);
    for n in 0..front {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    for (n, key) in keys.iter().enumerate() {
        store.enqueue(0, &format!("k{n}"), key, ms(0));
    }
    store.abandon();
    store
}

/// Everything succeeds but what starts with `k`, which is refused.
fn refuse_keyed(rig: &mut Rig) {
    rig.script(|message| {
        let refused = message.id().as_str().starts_with('k');
        Some(if refused { permanent() } else { ok() })
    });
}

/// Puts a message back as an operator does.
fn replay(rig: &mut Rig, id: &str) {
    let row = rig.store.row_mut(id);
    row.state = State::Pending;
    (row.attempt, row.halts) = (0, false);
    row.revision += 1;
}

#[test]
fn what_came_in_front_does_not_use_up_the_doubt() {
    // As many were executed and settled as can have been in flight, and more.
    for (front, halts) in [(0, true), (9, true), (18, true), (30, false)] {
        let mut rig = Rig::new(skips(), left_behind(front, &["k"]));
        refuse_keyed(&mut rig);
        rig.run(ms(60_000));
        let row = rig.store.row("k0");
        assert_eq!(
            (row.state, row.halts),
            (State::Dead, halts),
            "behind {front}"
        );
        assert_eq!(rig.store.count(State::Done), front);
    }
}

/// Caution lasts until enough came to their end, and so does the doubt of what is seen first.
#[test]
fn what_fails_on_and_on_in_front_does_not_use_up_the_doubt() {
    let mut rig = Rig::new(skips(), left_behind(60, &["k"]));
    rig.script(|message| {
        let refused = message.id().as_str().starts_with('k');
        Some(if refused { permanent() } else { transient() })
    });
    while rig.store.row("k0").state == State::Pending {
        rig.run(ms(100));
        assert!(rig.now < ms(60_000));
    }
    assert_eq!(rig.store.count(State::Retrying), 60);
    let row = rig.store.row("k0");
    assert_eq!((row.state, row.halts), (State::Dead, true));
}

#[test]
fn a_message_behind_one_that_halts_is_in_doubt_when_it_comes_back() {
    let mut rig = Rig::new(skips(), left_behind(0, &["k", "k"]));
    refuse_keyed(&mut rig);
    rig.run(ms(1_000));
    assert!(rig.store.row("k0").halts && rig.store.is_blocked(rig.store.row("k1")));
    for n in 0..40 {
        rig.store.enqueue(0, &format!("m{n}"), "", rig.now);
    }
    rig.run(ms(60_000));
    assert_eq!(rig.store.count(State::Done), 40);
    rig.store.discard("k0");
    rig.run(ms(60_000));
    let row = rig.store.row("k1");
    assert_eq!((row.state, row.halts), (State::Dead, true));
}

/// What is dropped in a drain was not executed by this owner, but perhaps by the one before. Only of what the
/// store itself knows to be uncertain nothing else has to tell.
#[test]
fn a_drain_that_drops_a_message_in_doubt_leaves_the_doubt_to_the_next_owner() {
    // Behind so many messages the last one is in doubt, and behind more it is not.
    for (front, marked, abandoned) in [
        (7, "", true),
        (7, "uncertain", false),
        (7, "suspect", false),
        (30, "", false),
    ] {
        let mut rig = Rig::new(skips(), left_behind(front, &[]));
        rig.script(|message| message.id().as_str().starts_with('m').then(ok));
        rig.run(ms(3_000));
        assert_eq!(rig.store.count(State::Done), front);
        for id in ["k0", "k1", "k2", "k3"] {
            rig.store.enqueue(0, id, "", rig.now);
            let row = rig.store.row_mut(id);
            row.uncertain = marked == "uncertain";
            row.suspect = marked == "suspect";
        }
        rig.run(ms(3_000));
        let flying = rig.in_flight();
        assert_eq!(flying.len(), if marked == "suspect" { 1 } else { 3 });
        assert_eq!(rig.machine.buffered().0, 4, "others wait");
        let now = rig.time();
        rig.machine.drain(now);
        for id in flying {
            rig.outcome(&id, ok());
        }
        rig.run(ms(100));
        assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
        let left = !rig.store.abandoned.is_empty();
        assert_eq!(left, abandoned, "{front} in front, {marked}");
    }
}

#[test]
fn a_message_that_comes_due_late_is_in_doubt() {
    let mut store = left_behind(0, &["k"]);
    store.row_mut("k0").due = Some(ms(100_000));
    for n in 0..40 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    let mut rig = Rig::new(skips(), store);
    refuse_keyed(&mut rig);
    rig.run(ms(90_000));
    assert_eq!(rig.store.count(State::Done), 40);
    rig.run(ms(60_000));
    assert!(rig.store.row("k0").halts);
}

#[test]
fn a_message_that_dies_in_doubt_is_uncertain_for_ever() {
    let mut rig = Rig::new(skips(), left_behind(0, &["k"]));
    refuse_keyed(&mut rig);
    rig.run(ms(1_000));
    assert!(rig.store.row("k0").uncertain);
    // Another process, which took the partition over from nobody who died.
    let now = rig.now;
    rig.store.owners.values_mut().for_each(|slot| slot.0 = None);
    let mut rig = Rig::with(skips(), rig.store, Arc::new(Ids::default()), now);
    replay(&mut rig, "k0");
    refuse_keyed(&mut rig);
    rig.run(ms(60_000));
    let row = rig.store.row("k0");
    assert_eq!((row.state, row.halts), (State::Dead, true));
}

#[test]
fn a_message_that_kills_its_process_dies_uncertain() {
    let mut store = left_behind(0, &["k"]);
    store.row_mut("k0").suspect = true;
    store.row_mut("k0").crashes = 3;
    let mut rig = Rig::new(skips(), store);
    rig.run(ms(1_000));
    let row = rig.store.row("k0");
    assert_eq!((row.state, row.halts), (State::Dead, true));
    assert!(row.uncertain && rig.ran.is_empty());
}

#[test]
fn a_message_that_is_refused_in_no_doubt_is_not_uncertain() {
    let mut store = left_behind(0, &["k"]);
    store.owners.values_mut().for_each(|slot| slot.0 = None);
    let mut rig = Rig::new(skips(), store);
    refuse_keyed(&mut rig);
    rig.run(ms(1_000));
    let row = rig.store.row("k0");
    assert_eq!((row.state, row.halts), (State::Dead, false));
    assert!(!row.uncertain);
}

/// What is given back clean is not in doubt any more, so nothing may be left that still is.
#[test]
fn a_partition_is_given_back_as_abandoned_while_a_message_is_in_doubt() {
    for (keys, abandoned) in [(["k", "k"], true), (["", ""], false)] {
        let mut rig = Rig::new(skips(), left_behind(8, &keys));
        rig.script(|message| match message.id().as_str() {
            "k0" => Some(transient()),
            _ => Some(ok()),
        });
        rig.run(ms(200));
        // The caution is used up; of the doubt only what the failing one hides is left.
        let done = if abandoned { 8 } else { 9 };
        assert_eq!(rig.store.count(State::Done), done);
        let now = rig.time();
        rig.machine.drain(now);
        rig.run(ms(5_000));
        assert_eq!(!rig.store.abandoned.is_empty(), abandoned, "{keys:?}");
    }
}
