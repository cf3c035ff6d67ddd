//! Stragglers: executions of an earlier grant that are under way when their partition is granted again.

use std::time::Duration;

use iobox_core::dispatch::{Settings, Time};

use crate::{
    rig::{Rig, ms, ok, settings},
    store::Store,
};

/// A message of each of two partitions is in flight as the instance is deleted and comes back under
/// another id. Returns when it was granted them again.
fn granted_again() -> (Rig, Duration) {
    let mut store = Store::new(2);
    for n in 0..2_u8 {
        store.enqueue(n, &format!("m{n}"), "k", ms(0));
    }
    let mut settings: Settings = settings();
    settings.max_in_flight = 8;
    settings.poll_min = ms(60_000);
    settings.poll_max = ms(60_000);
    let mut rig = Rig::new(settings, store);
    rig.step();
    assert_eq!(rig.in_flight(), ["m0", "m1"]);
    rig.store.members.clear();
    let old = rig.machine.instance();
    while rig.machine.instance() == old || rig.machine.partitions().count() < 2 {
        rig.run(ms(1));
    }
    let granted = rig.now;
    (rig, granted)
}

#[test]
fn what_does_not_end_is_waited_for_as_long_as_a_hand_over_waits() {
    let (mut rig, granted) = granted_again();
    // An execution, its settlement and the grace time.
    let end = granted + ms(1_000 + 500 + 2_000);
    rig.run(end - rig.now - ms(1));
    assert_eq!(rig.ran.len(), 2, "nothing runs twice at the same time");
    assert_eq!(rig.machine.deadline(rig.time()), Some(Time::at(end)));
    rig.run(ms(1));
    assert_eq!((rig.ran.len(), rig.now), (4, end));
}

#[test]
fn a_partition_goes_on_as_its_own_executions_have_ended() {
    let (mut rig, granted) = granted_again();
    rig.outcome("m0", ok());
    assert!(rig.now < granted + ms(100));
    assert_eq!(rig.ran, ["m0", "m1", "m0"], "its success was not recorded");
    rig.outcome("m1", ok());
    assert_eq!(rig.ran.len(), 4);
}

#[test]
fn a_moment_is_shown_as_what_passed_since_the_start() {
    assert_eq!(format!("{:?}", Time::at(ms(1_500))), "+1.5s");
}
