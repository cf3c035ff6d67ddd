//! Rule 5: whether an unknown outcome is the message's doing, by what was answered meanwhile.

use crate::{
    breaker::rig_of,
    rig::{Rig, ms, ok, permanent, transient, unavailable, unknown},
};

/// Sends the message "late", in a batch of its own.
fn send_another(rig: &mut Rig) {
    let now = rig.time().since_start();
    rig.store.enqueue(0, "late", "", now);
    rig.run(ms(200));
    assert!(rig.in_flight().contains(&"late".to_owned()));
}

#[test]
fn an_unknown_outcome_counts_if_a_message_was_answered_that_was_sent_after_it() {
    for (answer, counts) in [
        (ok(), 1),
        (transient(), 1),
        (permanent(), 1),
        (unavailable(), 0),
        (unknown(), 0),
    ] {
        let mut rig = rig_of(1, 2);
        rig.run(ms(600));
        send_another(&mut rig);
        assert_eq!(rig.in_flight(), ["late", "m0"]);
        rig.outcome("late", answer);
        rig.outcome("m0", unknown());
        rig.run(ms(5));
        let row = rig.store.row("m0");
        assert_eq!((row.attempt, row.alone), (counts, counts == 0));
    }
    // Those that were sent with it say nothing: the broker may have gone between the two.
    let mut rig = rig_of(2, 2);
    rig.run(ms(600));
    rig.outcome("m0", ok());
    rig.outcome("m1", unknown());
    rig.run(ms(5));
    assert_eq!(rig.store.row("m1").attempt, 0);
    // An answer that came before it was sent says nothing.
    let mut rig = rig_of(2, 1);
    rig.outcome("m0", ok());
    rig.outcome("m1", unknown());
    rig.run(ms(5));
    assert_eq!(rig.store.row("m1").attempt, 0);
}

#[test]
fn a_message_that_may_wait_for_its_turn_in_an_earlier_batch_is_not_overtaken_by_a_later_one() {
    let batches = || {
        let mut rig = rig_of(4, 3);
        rig.outcome("m0", ok());
        rig.run(ms(5));
        assert_eq!(rig.in_flight(), ["m1", "m2", "m3"], "two batches");
        rig
    };
    // The broker stops while the first is still being sent.
    let mut rig = batches();
    rig.outcome("m3", ok());
    for id in ["m1", "m2"] {
        rig.outcome(id, unknown());
        rig.run(ms(5));
        let row = rig.store.row(id);
        assert_eq!((row.attempt, row.alone), (0, true), "{id}");
    }
    // A publisher that sends one by one is still at it, however late the other batch started.
    let mut rig = batches();
    rig.run(ms(600));
    rig.outcome("m1", ok());
    rig.outcome("m3", ok());
    send_another(&mut rig);
    rig.outcome("late", ok());
    rig.outcome("m2", unknown());
    rig.run(ms(5));
    assert_eq!(rig.store.row("m2").attempt, 0);
    // One whose batch was silent for long, and which is not answered, had its turn.
    let mut rig = batches();
    rig.outcome("m3", ok());
    rig.run(ms(600));
    send_another(&mut rig);
    rig.outcome("late", ok());
    rig.outcome("m2", unknown());
    rig.run(ms(5));
    assert_eq!(rig.store.row("m2").attempt, 1);
}
