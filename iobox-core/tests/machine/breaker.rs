//! Rule 5: a broker that is down is not the message's fault.

use std::collections::BTreeSet;

use iobox_core::{
    dispatch::{BreakerState, Event, RetryPolicy},
    partition::Partition,
    publisher::Durability,
    store::{InstanceId, State},
};

use uuid::Uuid;

use crate::{
    rig::{Kind, Rig, lost, ms, ok, settings, transient, unavailable, unknown},
    store::Store,
};

/// A rig with this many messages without a key; `in_flight` of them fly.
pub(crate) fn rig_of(count: usize, in_flight: usize) -> Rig {
    let mut store = Store::new(1);
    for n in 0..count {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    settings.batch = 20;
    settings.fetch = 20;
    settings.max_in_flight = in_flight;
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig
}

fn fail_all(rig: &mut Rig) {
    for id in rig.in_flight() {
        rig.outcome(&id, unavailable());
    }
}

#[test]
fn the_breaker_opens_after_the_threshold_in_a_row_and_not_before() {
    let mut rig = rig_of(20, 10);
    for n in 0..4 {
        rig.outcome(
            &format!("m{n}"),
            if n % 2 == 0 { unavailable() } else { unknown() },
        );
        assert_eq!(rig.machine.breaker(), BreakerState::Closed);
    }
    rig.outcome("m4", transient());
    for n in 5..9 {
        rig.outcome(&format!("m{n}"), unknown());
        assert_eq!(rig.machine.breaker(), BreakerState::Closed);
    }
    rig.outcome("m9", unavailable());
    assert_eq!(rig.machine.breaker(), BreakerState::Open);
}

#[test]
fn nothing_but_probes_while_it_is_open_and_it_closes_after_one_that_succeeds() {
    let mut rig = rig_of(40, 10);
    rig.broker_is_up = false;
    fail_all(&mut rig);
    assert_eq!(rig.machine.breaker(), BreakerState::Open);
    // What was in flight when it opened has ended by now.
    fail_all(&mut rig);
    let before = rig.log.len();
    rig.run(ms(10_000));
    let since = &rig.log[before..];
    let quiet = since.iter().all(|(_, kind)| {
        matches!(
            kind,
            Kind::Probe | Kind::Renew | Kind::Settle | Kind::Acquire
        )
    });
    assert!(quiet, "{since:?}");
    let probes = since
        .iter()
        .filter(|(_, kind)| *kind == Kind::Probe)
        .count();
    assert!((9..=10).contains(&probes), "{probes} probes in 10 s");
    rig.broker_is_up = true;
    rig.run(ms(1_001));
    assert_eq!(rig.machine.breaker(), BreakerState::Closed);
    rig.script(|_| Some(ok()));
    rig.run(ms(5_000));
    assert_eq!(rig.store.count(State::Done), 40);
    assert!(
        rig.store.rows.values().all(|row| row.attempt == 1),
        "unavailable burns no attempt"
    );
}

#[test]
fn the_machine_does_not_spin_while_everything_is_unavailable() {
    for broker_is_up in [false, true] {
        let mut rig = rig_of(100, 50);
        rig.broker_is_up = broker_is_up;
        rig.script(|_| Some(unavailable()));
        rig.run(ms(10_000));
        let before = rig.log.len();
        rig.run(ms(30_000));
        let commands = rig.log.len() - before;
        assert!(
            commands < 30 * 30,
            "{commands} commands in 30 s, probes succeed: {broker_is_up}"
        );
        assert!(
            rig.store
                .rows
                .values()
                .all(|row| row.attempt == 0 && row.is_open())
        );
    }
}

/// Two messages with an unknown outcome that nobody could judge, and others.
fn two_alone() -> Rig {
    let mut rig = rig_of(12, 3);
    rig.outcome("m0", unknown());
    rig.outcome("m1", unknown());
    rig.run(ms(5));
    assert!(rig.store.row("m0").alone && rig.store.row("m1").alone);
    rig
}

#[test]
fn messages_with_an_uncounted_unknown_go_alone_one_at_a_time_between_probes() {
    let mut rig = two_alone();
    let mut alone = 0;
    for _ in 0..400 {
        rig.run(ms(10));
        let flying = rig.in_flight();
        if flying.iter().any(|id| id == "m0" || id == "m1") {
            alone += 1;
            assert_eq!(flying.len(), 1, "{flying:?}");
            assert!(rig.count(Kind::Probe) >= alone, "a probe goes before it");
        }
        if let Some(id) = flying.first() {
            rig.outcome(id, ok());
        }
    }
    assert_eq!(alone, 2);
    assert_eq!(rig.store.count(State::Done), 12);
}

#[test]
fn an_unknown_outcome_of_one_that_went_alone_counts_if_the_probe_after_it_succeeds() {
    for answers in [true, false] {
        let mut rig = two_alone();
        rig.script(|message| (!["m0", "m1"].contains(&message.id().as_str())).then(ok));
        while !rig.in_flight().contains(&"m0".to_owned()) {
            rig.run(ms(10));
            if rig.in_flight() == ["m1"] {
                rig.outcome("m1", ok());
            }
        }
        rig.broker_is_up = answers;
        rig.outcome("m0", unknown());
        rig.run(ms(5));
        let row = rig.store.row("m0");
        assert_eq!((row.attempt, row.alone), (u32::from(answers), true));
        let open = rig.machine.breaker() == BreakerState::Open;
        assert_eq!(open, !answers, "a probe that fails opens the breaker");
    }
}

#[test]
fn a_probe_that_was_sent_before_says_nothing_about_the_message_that_goes_alone() {
    let mut store = Store::new(1);
    store.enqueue(0, "m0", "", ms(0));
    store.row_mut("m0").alone = true;
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Probe);
    rig.run(ms(10));
    // The instance is deleted and registers anew while the probe for m0 is under way.
    let early = rig.held_back(Kind::Probe);
    rig.store.members.clear();
    rig.run(ms(2_000));
    let reply = rig.effect(&early);
    rig.reply(reply);
    rig.run(ms(10));
    assert!(rig.ran.is_empty(), "it waits for a probe of its own");
    rig.answer(Kind::Probe);
    assert!(!rig.ran.is_empty() || rig.store.row("m0").suspect);
    // Nor does one that was sent before it ran tell whose fault its outcome was.
    rig.run(ms(10));
    assert_eq!(rig.in_flight(), ["m0"]);
    rig.outcome("m0", unknown());
    rig.run(ms(10));
    assert!(rig.store.row("m0").is_open() && !rig.store.row("m0").uncertain);
    rig.answer(Kind::Probe);
    rig.run(ms(10));
    assert_eq!(rig.store.row("m0").attempt, 1);
}

#[test]
fn a_suspect_whose_outcome_is_unknown_does_not_count_without_a_probe_before_it() {
    let mut store = Store::new(1);
    store.enqueue(0, "m0", "", ms(0));
    store.row_mut("m0").suspect = true;
    let mut rig = Rig::new(settings(), store);
    rig.run(ms(10));
    let probed_before = rig.count(Kind::Probe) > 0;
    rig.outcome("m0", unknown());
    rig.run(ms(10));
    assert_eq!(rig.store.row("m0").attempt, u32::from(probed_before));
}

#[test]
fn others_run_between_two_messages_that_go_alone() {
    let mut rig = rig_of(30, 3);
    for n in 0..3 {
        rig.outcome(&format!("m{n}"), unknown());
    }
    let mut order = Vec::new();
    for _ in 0..400 {
        rig.run(ms(10));
        for id in rig.in_flight() {
            order.push(id.clone());
            rig.outcome(&id, ok());
        }
    }
    assert_eq!(rig.store.count(State::Done), 30);
}

#[test]
fn partitions_and_row_are_released_after_three_leases_and_come_back_after_a_probe() {
    let mut rig = rig_of(40, 10);
    rig.broker_is_up = false;
    rig.script(|_| Some(unavailable()));
    rig.run(ms(14_000));
    assert_eq!(
        (rig.machine.partitions().count(), rig.store.members.len()),
        (1, 1)
    );
    rig.run(ms(2_000));
    assert_eq!(
        (rig.machine.partitions().count(), rig.store.members.len()),
        (0, 0)
    );
    assert!(rig.store.owners.values().all(|(owner, _)| owner.is_none()));
    let before = rig.count(Kind::Renew);
    rig.run(ms(20_000));
    assert_eq!(rig.count(Kind::Renew), before, "it stays away");
    rig.broker_is_up = true;
    rig.script(|_| Some(ok()));
    rig.run(ms(3_000));
    assert_eq!(
        (rig.machine.partitions().count(), rig.store.members.len()),
        (1, 1)
    );
    assert_eq!(rig.store.count(State::Done), 40);
}

#[test]
fn a_renewal_of_before_it_left_is_not_taken_for_one_of_the_new_registration() {
    let mut rig = rig_of(4, 4);
    rig.broker_is_up = false;
    rig.script(|_| Some(unavailable()));
    rig.run(ms(14_500));
    // A renewal is under way while the instance leaves and comes back.
    rig.hold.insert(Kind::Renew);
    rig.run(ms(2_000));
    let stale = rig.held_back(Kind::Renew);
    assert!(rig.store.members.is_empty());
    rig.broker_is_up = true;
    rig.script(|_| Some(ok()));
    rig.run(ms(1_500));
    // It was deleted under the old id: that says nothing about the new one.
    let reply = rig.effect(&stale);
    rig.reply(reply);
    rig.let_go(Kind::Renew);
    rig.run(ms(3_000));
    let gone = rig
        .events
        .iter()
        .any(|event| matches!(event, Event::InstanceGone));
    assert!(!gone, "the new registration is not dropped");
    assert_eq!(
        (rig.store.members.len(), rig.store.count(State::Done)),
        (1, 4)
    );
}

#[test]
fn an_instance_that_may_have_left_does_not_work_under_its_old_id() {
    let mut rig = rig_of(4, 4);
    rig.broker_is_up = false;
    rig.script(|_| Some(unavailable()));
    rig.hold.insert(Kind::Release);
    // The leave is lost, and takes effect late.
    rig.run(ms(16_000));
    let leave = rig.held_back(Kind::Release);
    let old = rig.machine.instance();
    rig.hold.remove(&Kind::Release);
    rig.reply(lost(&leave));
    rig.broker_is_up = true;
    rig.script(|_| Some(ok()));
    rig.run(ms(7_000));
    assert_eq!(rig.machine.partitions().count(), 1, "it is back");
    assert_ne!(rig.machine.instance(), old);
    rig.effect(&leave);
    rig.run(ms(3_000));
    let gone = rig
        .events
        .iter()
        .any(|event| matches!(event, Event::InstanceGone));
    assert!(!gone, "a leave that arrives late does not reach it");
}

#[test]
fn a_message_that_breaks_every_connection_does_not_keep_others_from_going_alone() {
    let mut store = Store::new(1);
    for n in 0..4 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
        store.row_mut(&format!("m{n}")).alone = true;
    }
    let mut settings = settings();
    settings.retry = RetryPolicy::new(ms(1), ms(2), 20).unwrap();
    let mut rig = Rig::new(settings, store);
    while rig.now < ms(40_000) {
        rig.run(ms(10));
        if let Some(id) = rig.in_flight().first().cloned() {
            rig.run(ms(500));
            rig.outcome(&id, if id == "m0" { unknown() } else { ok() });
        }
    }
    assert_eq!(rig.store.count(State::Done), 3);
}

#[test]
fn many_messages_that_break_the_connection_do_not_fill_the_memory() {
    let mut store = Store::new(1);
    for n in 0..40 {
        store.enqueue(0, &format!("bad{n}"), "", ms(0));
        store.row_mut(&format!("bad{n}")).alone = true;
    }
    for n in 0..10 {
        store.enqueue(0, &format!("good{n}"), "", ms(0));
    }
    let mut settings = settings();
    settings.retry = RetryPolicy::new(ms(10), ms(2_000), 20).unwrap();
    let mut rig = Rig::new(settings, store);
    while rig.now < ms(60_000) {
        rig.run(ms(100));
        for id in rig.in_flight() {
            rig.run(if id.starts_with("bad") {
                ms(500)
            } else {
                ms(0)
            });
            rig.outcome(
                &id,
                if id.starts_with("bad") {
                    unknown()
                } else {
                    ok()
                },
            );
        }
    }
    assert_eq!(rig.store.count(State::Done), 10);
    let bad: BTreeSet<_> = rig.ran.iter().filter(|id| id.starts_with("bad")).collect();
    assert!(bad.len() > 20, "each has its turn now and then: {bad:?}");
}

#[test]
fn a_breaker_that_closes_renews_nothing_while_the_instance_is_there() {
    let mut rig = rig_of(40, 10);
    rig.run(ms(1_000));
    let before = rig.count(Kind::Renew);
    rig.broker_is_up = false;
    fail_all(&mut rig);
    assert_eq!(rig.machine.breaker(), BreakerState::Open);
    rig.broker_is_up = true;
    let now = rig.time();
    rig.machine.probed(&Ok(Durability::Synced), now);
    rig.step();
    assert_eq!(rig.machine.breaker(), BreakerState::Closed);
    assert_eq!(rig.count(Kind::Renew), before);
}

#[test]
fn until_it_stays_away_itself_an_instance_takes_what_falls_free() {
    let mut store = Store::new(2);
    store.enqueue(0, "m0", "", ms(0));
    store.enqueue(1, "m1", "", ms(0));
    let other = InstanceId::new(Uuid::from_u128(1_000));
    store.members.insert(other, (ms(0), ms(8_000)));
    store.owners.insert(Partition::new(1), (Some(other), 1));
    let mut rig = Rig::new(settings(), store);
    rig.broker_is_up = false;
    rig.script(|_| Some(unavailable()));
    rig.run(ms(7_000));
    assert_eq!(rig.machine.breaker(), BreakerState::Open);
    assert_eq!(rig.machine.partitions().count(), 1);
    rig.run(ms(2_000));
    assert_eq!(rig.machine.partitions().count(), 2);
}
