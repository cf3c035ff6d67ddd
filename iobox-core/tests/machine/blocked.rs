//! Rule 6: the store decides who is blocked; a blocked row never runs and is moved to waiting.

use iobox_core::{
    dispatch::{DeadLetterPolicy, Event, Outcome},
    store::{FetchRequest, State},
};

use crate::{
    rig::{Kind, Rig, ms, ok, permanent, settings, transient},
    store::Store,
};

fn of_key(count: usize, policy: DeadLetterPolicy) -> Rig {
    let mut store = Store::new(1);
    for n in 0..count {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
    }
    store.enqueue(0, "b0", "b", ms(0));
    let mut settings = settings();
    settings.policy = policy;
    settings.batch = 50;
    settings.fetch = 50;
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig
}

#[test]
fn a_blocked_row_never_runs_and_is_moved_to_waiting() {
    let mut rig = of_key(30, DeadLetterPolicy::HaltKey);
    rig.outcome("a0", permanent());
    rig.outcome("b0", ok());
    rig.run(ms(10_000));
    assert_eq!(rig.ran, ["a0", "b0"]);
    assert_eq!(rig.store.count(State::Waiting), 29);
    assert_eq!(rig.machine.buffered().0, 0);
    let told = rig.events.iter().filter_map(|event| match event {
        Event::SetAside { count } => Some(*count),
        _ => None,
    });
    assert_eq!(told.sum::<usize>(), 29);
}

#[test]
fn followers_in_memory_never_run_before_the_failed_head_is_settled() {
    for policy in [DeadLetterPolicy::HaltKey, DeadLetterPolicy::Skip] {
        for outcome in [transient(), permanent()] {
            let mut rig = of_key(3, policy);
            rig.hold.insert(Kind::Settle);
            rig.outcome("a0", outcome);
            rig.run(ms(1_000));
            assert!(!rig.ran.contains(&"a1".to_owned()), "{policy:?}");
        }
    }
}

#[test]
fn followers_go_on_after_a_head_that_succeeded_although_it_is_not_settled_yet() {
    let mut rig = of_key(3, DeadLetterPolicy::HaltKey);
    rig.hold.insert(Kind::Settle);
    rig.outcome("a0", ok());
    assert!(rig.in_flight().contains(&"a1".to_owned()));
}

#[test]
fn under_skip_the_followers_of_a_dead_message_go_on() {
    let mut rig = of_key(30, DeadLetterPolicy::Skip);
    rig.script(|message| {
        Some(if message.id().as_str() == "a0" {
            permanent()
        } else {
            ok()
        })
    });
    rig.run(ms(1_000));
    assert_eq!(
        (rig.store.count(State::Dead), rig.store.count(State::Done)),
        (1, 30)
    );
}

#[test]
fn followers_are_released_as_soon_as_the_failed_head_succeeds() {
    let mut rig = of_key(30, DeadLetterPolicy::HaltKey);
    rig.outcome("b0", ok());
    rig.outcome(
        "a0",
        Outcome::Transient {
            reason: String::new(),
            after: Some(ms(700)),
        },
    );
    rig.run(ms(600));
    assert_eq!(rig.store.count(State::Waiting), 29);
    rig.run(ms(110));
    assert_eq!(rig.in_flight(), ["a0"]);
    rig.script(|_| Some(ok()));
    rig.run(ms(100));
    assert_eq!(
        rig.store.count(State::Done),
        31,
        "without waiting for a sweep"
    );
    let expected: Vec<String> = (0..30).map(|n| format!("a{n}")).collect();
    let of_a: Vec<_> = rig.ran.iter().skip(2).cloned().collect();
    assert_eq!(of_a, expected);
}

#[test]
fn followers_of_a_message_that_an_operator_discards_are_released_by_a_sweep() {
    let mut rig = of_key(600, DeadLetterPolicy::HaltKey);
    rig.script(|message| {
        Some(if message.id().as_str() == "a0" {
            permanent()
        } else {
            ok()
        })
    });
    rig.run(ms(10_000));
    assert_eq!(rig.store.count(State::Waiting), 599);
    rig.store.row_mut("a0").state = State::Discarded;
    rig.run(ms(5_000));
    assert_eq!(rig.store.count(State::Done), 600);
    let expected: Vec<String> = (0..600).map(|n| format!("a{n}")).collect();
    let of_a: Vec<_> = rig
        .ran
        .iter()
        .filter(|id| id.starts_with('a'))
        .cloned()
        .collect();
    assert_eq!(of_a, expected);
}

/// What is in the way of one partition is cleared beside the fetches of the others, and brings nothing.
#[test]
fn a_clogged_partition_keeps_no_other_waiting() {
    let mut store = Store::new(2);
    for n in 0..30 {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
    }
    for n in 0..20 {
        store.enqueue(1, &format!("b{n}"), "", ms(0));
    }
    let head = store.row_mut("a0");
    (head.state, head.halts) = (State::Dead, true);
    store.enqueue(0, "c0", "c", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.script(|_| Some(ok()));
    rig.hold.insert(Kind::Fetch);
    rig.run(ms(50));
    rig.answer(Kind::Fetch);
    rig.run(ms(50));
    let clearing = rig.held_back(Kind::Fetch);
    let asked = rig.fetches[rig.fetches.len() - 2..].to_vec();
    let places = |request: &FetchRequest| -> Vec<u8> {
        let parts = request.partitions.iter();
        parts.map(|part| part.partition.number()).collect()
    };
    assert_eq!((places(&asked[0]), asked[0].limit), (vec![0], 0));
    assert_eq!(places(&asked[1]), [1]);
    assert!(asked[1].limit > 0);
    while rig.store.count(State::Done) < 20 {
        rig.answer(Kind::Fetch);
        rig.run(ms(5));
    }
    assert!(!rig.ran.contains(&"c0".to_owned()));
    let reply = rig.effect(&clearing);
    rig.reply(reply);
    rig.let_go(Kind::Fetch);
    rig.run(ms(50));
    assert!(rig.ran.contains(&"c0".to_owned()));
}

/// So many messages of a key, of which the first failed once and is in flight again.
fn at_its_second_try(count: usize) -> Rig {
    let mut rig = of_key(count, DeadLetterPolicy::HaltKey);
    rig.outcome("b0", ok());
    let again = Outcome::Transient {
        reason: String::new(),
        after: Some(ms(50)),
    };
    rig.outcome("a0", again);
    while rig.in_flight().is_empty() {
        rig.run(ms(1));
    }
    rig
}

/// Followers that a fetch sets aside while their head succeeds do not wait for a sweep.
#[test]
fn followers_set_aside_while_their_head_ends_come_back_at_once() {
    let mut rig = at_its_second_try(2);
    rig.hold.insert(Kind::Fetch);
    let sweeps = |rig: &Rig| rig.fetches.iter().filter(|f| f.partitions[0].sweep).count();
    while rig.waiting.is_empty() {
        rig.run(ms(1));
    }
    // The store sees a1 blocked by a0; before the answer arrives a0 is done.
    let fetch = rig.held_back(Kind::Fetch);
    let reply = rig.effect(&fetch);
    assert_eq!(rig.store.row("a1").state, State::Waiting);
    rig.outcome("a0", ok());
    rig.run(ms(1));
    assert_eq!(rig.store.row("a0").state, State::Done);
    rig.script(|_| Some(ok()));
    let before = sweeps(&rig);
    rig.reply(reply);
    rig.let_go(Kind::Fetch);
    while rig.store.count(State::Done) < 3 {
        rig.run(ms(1));
        assert_eq!(sweeps(&rig), before, "it came without a sweep");
    }
}

/// The same for the first follower of a key, of which nothing was known to be set aside.
#[test]
fn the_first_follower_set_aside_while_its_head_ends_comes_back_at_once() {
    let mut rig = at_its_second_try(1);
    rig.store.enqueue(0, "late", "a", rig.now);
    rig.hold.insert(Kind::Fetch);
    while rig.waiting.is_empty() {
        rig.run(ms(1));
    }
    let fetch = rig.held_back(Kind::Fetch);
    let reply = rig.effect(&fetch);
    assert_eq!(rig.store.row("late").state, State::Waiting);
    rig.outcome("a0", ok());
    rig.run(ms(1));
    rig.script(|_| Some(ok()));
    rig.reply(reply);
    rig.let_go(Kind::Fetch);
    rig.run(ms(5));
    assert_eq!(rig.store.row("late").state, State::Done);
}

/// A message that was marked before its turn came and then got a failing one in front of it waits.
#[test]
fn a_marked_follower_waits_behind_a_message_that_was_replayed_in_front_of_it() {
    let mut store = Store::new(1);
    let early = store.draw();
    store.enqueue(0, "a1", "a", ms(0));
    // The last owner died.
    store.abandon();
    let mut settings = settings();
    settings.batch = 50;
    settings.fetch = 50;
    let mut rig = Rig::new(settings, store);
    rig.hold.insert(Kind::Settle);
    rig.step();
    rig.store.put(0, early, "a0", "a", ms(0));
    rig.run(ms(3_000));
    rig.let_go(Kind::Settle);
    rig.run(ms(50));
    assert_eq!(rig.in_flight(), ["a0"]);
    rig.outcome(
        "a0",
        Outcome::Transient {
            reason: String::new(),
            after: Some(ms(2_000)),
        },
    );
    rig.run(ms(1_500));
    assert!(
        rig.in_flight().is_empty(),
        "a1 waits for a0: {:?}",
        rig.in_flight()
    );
    rig.script(|_| Some(ok()));
    rig.run(ms(5_000));
    assert_eq!(rig.ran, ["a0", "a0", "a1"]);
    assert_eq!(rig.store.count(State::Done), 2);
}

/// A call releases a few hundred at a time: the next ones are asked for as those are used up, not by a
/// poll or a sweep.
#[test]
fn rows_that_wait_behind_nothing_come_back_one_release_after_the_other() {
    let mut store = Store::new(1);
    for n in 0..700 {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
        store.row_mut(&format!("a{n}")).state = State::Waiting;
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (1_000, 1_000, 1_000);
    settings.poll_min = ms(60_000);
    settings.poll_max = ms(60_000);
    let mut rig = Rig::new(settings, store);
    rig.script(|_| Some(ok()));
    rig.run(ms(20_000));
    assert_eq!(rig.store.count(State::Done), 700);
}
