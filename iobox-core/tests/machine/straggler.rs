//! Stragglers: executions of an earlier grant that are under way when their partition is granted again.

use std::time::Duration;

use iobox_core::{
    dispatch::{Settings, Time},
    partition::Partition,
};

use crate::{
    lease::other,
    rig::{Rig, ms, ok, settings},
    store::Store,
};

fn roomy() -> Settings {
    let mut settings = settings();
    settings.max_in_flight = 8;
    settings.poll_min = ms(60_000);
    settings.poll_max = ms(60_000);
    settings
}

/// The instance was deleted and comes back under another id. Returns when it was granted so many partitions
/// again.
fn start_over(rig: &mut Rig, partitions: usize) -> Duration {
    let old = rig.machine.instance();
    while rig.machine.instance() == old || rig.machine.partitions().count() < partitions {
        rig.run(ms(1));
    }
    rig.now
}

/// A message of each of two partitions is in flight as the instance starts over. Returns when it was
/// granted them again.
fn granted_again() -> (Rig, Duration) {
    let mut store = Store::new(2);
    for n in 0..2_u8 {
        store.enqueue(n, &format!("m{n}"), "k", ms(0));
    }
    let mut rig = Rig::new(roomy(), store);
    rig.step();
    assert_eq!(rig.in_flight(), ["m0", "m1"]);
    rig.store.members.clear();
    let granted = start_over(&mut rig, 2);
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

/// Whoever may have killed a process runs alone until it ends, whatever becomes of its lease: if the
/// process dies of it now, nothing else was in flight.
#[test]
fn what_runs_alone_stays_alone_until_it_ends() {
    let mut store = Store::new(2);
    store.enqueue(0, "suspect", "", ms(0));
    store.row_mut("suspect").suspect = true;
    store.enqueue(1, "m", "", ms(0));
    let mut rig = Rig::new(roomy(), store);
    rig.step();
    assert_eq!(rig.in_flight(), ["suspect"]);
    // Another instance has its partition by now.
    rig.store.members.clear();
    rig.store.members.insert(other(1), (ms(0), ms(60_000)));
    rig.store
        .owners
        .insert(Partition::new(0), (Some(other(1)), 9));
    let granted = start_over(&mut rig, 1);
    // Longer than a partition waits for what was started under its last grant.
    rig.run(granted + ms(10_000) - rig.now);
    assert_eq!(rig.ran, ["suspect"], "its company would be under suspicion");
    rig.outcome("suspect", ok());
    rig.run(ms(10));
    assert_eq!(rig.in_flight(), ["m"]);
}

#[test]
fn a_moment_is_shown_as_what_passed_since_the_start() {
    assert_eq!(format!("{:?}", Time::at(ms(1_500))), "+1.5s");
}
