//! Rule 4: from outcomes to verdicts, attempts, backoff, dead letters.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    dispatch::{BreakerState, DeadLetterPolicy, Event, Outcome, RetryPolicy, Settings},
    store::{Change, Hint, Settled, Settlement, State, Verdict},
};
use proptest::prelude::*;

use crate::{
    rig::{Ids, Rig, ms, ok, permanent, settings, transient, unavailable, unknown},
    store::Store,
};

fn retrying(base: u64, cap: u64, max: u32) -> Settings {
    let mut settings = settings();
    settings.retry = RetryPolicy::new(ms(base), ms(cap), max).unwrap();
    settings
}

/// One message "m", in flight.
fn one(settings: Settings, key: &str) -> Rig {
    let mut store = Store::new(1);
    store.enqueue(0, "m", key, ms(0));
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig
}

fn verdict(settlement: &Settlement) -> &Verdict {
    match &settlement.change {
        Change::Verdict(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ok_is_done_and_an_attempt() {
    for duplicate in [false, true] {
        let mut rig = one(settings(), "k");
        rig.outcome("m", Outcome::Ok { duplicate });
        assert_eq!(verdict(&rig.settled[0]), &Verdict::Done { duplicate });
        assert_eq!(rig.settled[0].attempt, 1);
    }
}

#[test]
fn permanent_is_dead_at_once() {
    let mut rig = one(settings(), "k");
    rig.outcome("m", permanent());
    assert!(matches!(
        verdict(&rig.settled[0]),
        Verdict::Dead { halts: true, .. }
    ));
    assert_eq!(rig.settled[0].attempt, 1);
}

#[test]
fn transient_is_dead_after_max_attempts_and_not_before() {
    let mut rig = one(retrying(10, 100, 4), "k");
    for attempt in 1..=4 {
        assert_eq!(rig.store.row("m").attempt, attempt - 1);
        assert!(rig.store.row("m").is_open());
        rig.outcome("m", transient());
        rig.run(ms(2_000));
    }
    assert_eq!(
        (rig.store.row("m").state, rig.store.row("m").attempt),
        (State::Dead, 4)
    );
    assert_eq!(rig.ran.len(), 4);
}

#[test]
fn a_transient_outcome_may_say_when_up_to_the_cap() {
    for (asked, given) in [(ms(70), ms(70)), (ms(70_000), ms(100))] {
        let mut rig = one(retrying(10, 100, 4), "k");
        let reason = String::new();
        rig.outcome(
            "m",
            Outcome::Transient {
                reason,
                after: Some(asked),
            },
        );
        assert!(
            matches!(verdict(&rig.settled[0]), Verdict::Retry { after, .. } if *after == given)
        );
    }
}

#[test]
fn unavailable_burns_no_attempt() {
    let mut rig = one(retrying(10, 100, 3), "k");
    for _ in 0..30 {
        rig.outcome("m", unavailable());
        rig.run(ms(5_000));
    }
    assert!(rig.store.row("m").is_open());
    assert_eq!(rig.store.row("m").attempt, 0);
    rig.outcome("m", ok());
    assert_eq!(rig.store.row("m").attempt, 1);
}

#[test]
fn unknown_never_dies_by_attempts_alone() {
    let mut rig = one(retrying(10, 100, 3), "k");
    for _ in 0..20 {
        rig.outcome("m", unknown());
        rig.run(ms(5_000));
    }
    let row = rig.store.row("m");
    assert!(row.uncertain && row.is_open());
    assert!(row.attempt > 3, "{} attempts", row.attempt);
    let late: Vec<Duration> = rig
        .settled
        .iter()
        .rev()
        .take(5)
        .map(|s| match verdict(s) {
            Verdict::Unknown { after, .. } => *after,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        late,
        vec![ms(100); 5],
        "beyond max attempts it goes on at maximum backoff"
    );
    let alarm = |event: &Event| matches!(event, Event::Unknown { alarm: true, .. });
    assert!(rig.events.iter().any(alarm));
}

#[test]
fn a_message_that_was_ever_uncertain_halts_its_key_even_under_skip() {
    for (uncertain, halts) in [(false, false), (true, true)] {
        let mut settings = retrying(10, 100, 3);
        settings.policy = DeadLetterPolicy::Skip;
        let mut rig = one(settings, "k");
        if uncertain {
            rig.outcome("m", unknown());
            rig.run(ms(5_000));
        }
        rig.outcome("m", permanent());
        rig.run(ms(100));
        assert_eq!(
            (rig.store.row("m").state, rig.store.row("m").halts),
            (State::Dead, halts)
        );
    }
}

#[test]
fn a_damaged_row_is_dead_without_an_attempt_and_its_neighbours_run() {
    let mut store = Store::new(1);
    for n in 0..4 {
        store.enqueue(0, &format!("m{n}"), &format!("k{}", n % 2), ms(0));
    }
    store.row_mut("m0").corrupt = true;
    let mut rig = Rig::new(settings(), store);
    rig.script(|_| Some(ok()));
    rig.run(ms(3_000));
    assert_eq!(rig.ran, ["m1", "m3"]);
    let row = rig.store.row("m0");
    assert_eq!((row.state, row.attempt, row.halts), (State::Dead, 0, true));
    assert_eq!(rig.store.row("m2").state, State::Waiting);
}

#[test]
fn reasons_are_one_line_of_at_most_a_thousand_bytes() {
    let mut rig = one(settings(), "k");
    rig.outcome(
        "m",
        Outcome::Permanent {
            reason: "é\n".repeat(900),
        },
    );
    let Verdict::Dead { reason, .. } = verdict(&rig.settled[0]) else {
        panic!()
    };
    assert_eq!(
        reason,
        &"é ".repeat(333),
        "999 bytes: half a letter is none"
    );
}

#[test]
fn an_outcome_that_comes_twice_is_ignored() {
    let mut rig = one(settings(), "k");
    let run = *rig.flying.keys().next().unwrap();
    rig.outcome("m", transient());
    let now = rig.time();
    rig.machine.outcome(run, ok(), now);
    rig.run(ms(10));
    assert_eq!(rig.settled.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a message meets, its attempts are what counted, its backoff stays within the
    /// ceiling of its attempt, and what it becomes is what the table says.
    #[test]
    fn the_table_of_outcomes(
        outcomes in prop::collection::vec(0..5_u8, 1..12),
        max in 1..6_u32,
        skip: bool,
    ) {
        let mut settings = retrying(50, 400, max);
        let policy = settings.retry;
        settings.policy = if skip { DeadLetterPolicy::Skip } else { DeadLetterPolicy::HaltKey };
        let mut store = Store::new(1);
        store.enqueue(0, "m", "k", ms(0));
        let mut rig = Rig::new(settings, store);
        rig.step();
        let (mut attempt, mut uncertain) = (0, false);
        for choice in outcomes {
            prop_assert!(rig.in_flight().contains(&"m".to_owned()), "it runs again");
            let dead = match choice {
                0 => { rig.outcome("m", ok()); attempt += 1; true }
                1 => { rig.outcome("m", transient()); attempt += 1; attempt >= max }
                2 => { rig.outcome("m", permanent()); attempt += 1; true }
                3 => { rig.outcome("m", unavailable()); false }
                // Alone or not, the broker answers probes: it counts once it went alone.
                _ => {
                    let alone = rig.store.row("m").alone;
                    rig.outcome("m", unknown());
                    attempt += u32::from(alone);
                    uncertain = true;
                    false
                }
            };
            rig.run(ms(50));
            let row = rig.store.row("m").clone();
            prop_assert_eq!(row.attempt, attempt);
            if let Some(last) = rig.settled.iter().rev().find(|s| s.seq == row.seq)
                && let Change::Verdict(Verdict::Retry { after, .. } | Verdict::Unknown { after, .. }) = last.change
                    && choice != 3 {
                    let alarmed = choice == 4 && attempt >= max;
                    let ceiling = if alarmed { ms(400) } else { policy.ceiling(attempt.max(1)) };
                    prop_assert!(after <= ceiling);
                }
            if dead {
                let state = if choice == 0 { State::Done } else { State::Dead };
                prop_assert_eq!(row.state, state);
                prop_assert_eq!(row.halts, state == State::Dead && (uncertain || !skip));
                break;
            }
            prop_assert!(row.is_open());
            prop_assert_eq!(row.uncertain, uncertain);
            rig.run(ms(8_000));
        }
    }
}

/// Three times it waits in memory, then it gives its place there to others.
#[test]
fn a_message_that_is_unavailable_while_others_go_through_is_put_back_the_fourth_time() {
    let mut rig = one(settings(), "");
    for refused in 1..=3 {
        let before = rig.now;
        rig.outcome("m", unavailable());
        while rig.in_flight().is_empty() {
            rig.run(ms(1));
        }
        let pause = rig.now - before;
        assert!(pause >= ms(500) && pause <= ms(1_501), "{pause:?}");
        assert_eq!(rig.settled, [], "refused {refused} times");
    }
    rig.outcome("m", unavailable());
    let Verdict::Retry { after, reason } = verdict(&rig.settled[0]) else {
        panic!("{:?}", rig.settled)
    };
    assert!(*after >= ms(500) && *after <= ms(1_500), "{after:?}");
    assert_eq!(reason, "not connected");
    assert_eq!(rig.settled[0].attempt, 0);
}

#[test]
fn what_is_unavailable_while_the_breaker_is_open_keeps_its_place() {
    let mut rig = one(settings(), "");
    rig.broker_is_up = false;
    for n in 0..9 {
        let now = rig.time();
        let id = format!("n{n}");
        rig.store.enqueue(0, &id, "", rig.now);
        rig.machine.wake(Hint::Wake, now);
    }
    // Each outage is seen by one execution after the breaker is open.
    for _ in 0..8 {
        rig.broker_is_up = true;
        while rig.in_flight().len() < 3 {
            rig.run(ms(100));
        }
        rig.broker_is_up = false;
        while rig.machine.breaker() == BreakerState::Closed {
            let ids = rig.in_flight();
            let Some(id) = ids.iter().find(|id| *id != "m") else {
                rig.run(ms(100));
                continue;
            };
            rig.outcome(id, unavailable());
        }
        if rig.in_flight().contains(&"m".to_owned()) {
            rig.outcome("m", unavailable());
        }
    }
    let seq = rig.store.row("m").seq;
    assert!(rig.settled.iter().all(|settlement| settlement.seq != seq));
}

#[test]
fn a_success_is_told_with_its_latency_and_attempt() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "k", ms(0));
    let ids = Arc::new(Ids::default());
    let mut rig = Rig::with(retrying(10, 100, 4), store, ids, ms(300));
    rig.step();
    rig.outcome("m", transient());
    while rig.in_flight().is_empty() {
        rig.run(ms(1));
    }
    rig.run(ms(70));
    rig.outcome("m", Outcome::Ok { duplicate: true });
    let told: Vec<_> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Executed {
                duplicate,
                latency,
                attempt,
            } => Some((*duplicate, *latency, *attempt)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(true, rig.now, 2)]);
}

/// An executor may record the success itself, in the transaction of the effects.
#[test]
fn a_message_that_was_settled_with_its_effects_is_not_settled_again() {
    let mut store = Store::new(1);
    store.enqueue(0, "m", "k", ms(0));
    store.enqueue(0, "next", "k", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.step();
    let run = *rig.flying.keys().next().unwrap();
    let settlement = rig.machine.success_of(run).unwrap();
    let row = rig.store.row("m");
    assert_eq!(
        (settlement.partition, settlement.seq, settlement.attempt),
        (row.partition, row.seq, 1)
    );
    assert_eq!(verdict(&settlement), &Verdict::Done { duplicate: false });
    let now = rig.now;
    assert_eq!(rig.store.settle(&[settlement], now), [Settled::Applied]);
    rig.outcome("m", Outcome::Settled);
    assert_eq!(rig.settled, []);
    assert_eq!(rig.in_flight(), ["next"]);
    assert_eq!(rig.machine.buffered().0, 1);
    let told = |event: &Event| matches!(event, Event::Executed { attempt: 1, .. });
    assert!(rig.events.iter().any(told));
}

#[test]
fn nothing_records_the_success_of_a_message_whose_partition_was_lost() {
    let mut rig = one(settings(), "k");
    let run = *rig.flying.keys().next().unwrap();
    // Another instance had the partition for a moment.
    rig.store.owners.values_mut().for_each(|slot| slot.1 += 1);
    rig.store.members.clear();
    rig.run(ms(3_000));
    assert_eq!(rig.machine.partitions().count(), 1);
    assert!(rig.machine.success_of(run).is_none());
}
