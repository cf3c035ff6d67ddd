//! The end of an instance that is gone in the middle of its drain.

use iobox_core::dispatch::{Event, Time};

use crate::{
    drain::{drain, nothing_new, of},
    rig::{Kind, Rig, lost, ms, ok, settings},
};

/// Nobody else is told what became of it, but an execution is not cut off for that.
#[test]
fn a_drain_whose_instance_is_gone_waits_for_what_is_in_flight_and_registers_nobody() {
    for ends in [true, false] {
        let mut rig = Rig::new(settings(), of(40, false));
        rig.step();
        let flying = rig.in_flight();
        let before = drain(&mut rig);
        rig.store.members.clear();
        rig.run(ms(1_500));
        assert!(rig.events.contains(&Event::InstanceGone));
        let drained = |rig: &Rig| rig.machine.is_drained(rig.time());
        assert!(!drained(&rig));
        if ends {
            for id in flying {
                rig.outcome(&id, ok());
            }
        } else {
            assert_eq!(
                rig.machine.deadline(rig.time()),
                Some(Time::at(ms(2_000))),
                "the grace time"
            );
            rig.run(ms(500));
        }
        assert!(drained(&rig));
        assert!(nothing_new(&rig, before));
        assert!(rig.store.members.is_empty());
    }
}

#[test]
fn a_drain_whose_instance_is_gone_registers_nobody_when_a_release_before_that_failed() {
    let mut rig = Rig::new(settings(), of(4, false));
    rig.step();
    // One partition is quiet and given back, and the others have something in flight.
    rig.hold.insert(Kind::Release);
    drain(&mut rig);
    rig.run(ms(100));
    let release = rig.held_back(Kind::Release);
    rig.store.members.clear();
    rig.run(ms(1_200));
    assert!(rig.events.contains(&Event::InstanceGone));
    rig.reply(lost(&release));
    rig.run(ms(600));
    assert!(rig.store.members.is_empty(), "it registered in a drain");
    let now = rig.time();
    assert!(!rig.machine.is_drained(now));
}
