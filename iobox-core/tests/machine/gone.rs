//! An instance that is gone, or may have been: in the middle of its drain, or brought back by a late registration.

use iobox_core::dispatch::{Event, Time};

use crate::{
    drain::{self, drain, nothing_new},
    lease::{of, other, owned},
    rig::{Kind, Rig, lost, ms, ok, settings},
};

/// Nobody else is told what became of it, but an execution is not cut off for that.
#[test]
fn a_drain_whose_instance_is_gone_waits_for_what_is_in_flight_and_registers_nobody() {
    for ends in [true, false] {
        let mut rig = Rig::new(settings(), drain::of(40, false));
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
    let mut rig = Rig::new(settings(), drain::of(4, false));
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

/// A registration that nobody answered may arrive much later, and make an instance that is gone look alive.
#[test]
fn an_instance_that_a_late_registration_brings_back_does_not_believe_in_what_it_had() {
    for late in [false, true] {
        let mut rig = Rig::new(settings(), of(40));
        rig.hold.insert(Kind::Renew);
        rig.step();
        let registration = rig.held_back(Kind::Renew);
        if late {
            rig.reply(lost(&registration));
        } else {
            let reply = rig.effect(&registration);
            rig.reply(reply);
        }
        rig.let_go(Kind::Renew);
        rig.run(ms(1_000));
        let id = rig.machine.instance();
        assert_eq!(owned(&rig), [0, 1, 2, 3]);
        // It hears of nothing for longer than its lease, which somebody else has then.
        rig.hold.insert(Kind::Renew);
        rig.run(ms(12_000));
        rig.store.members.clear();
        for owner in rig.store.owners.values_mut() {
            *owner = (Some(other(1)), owner.1 + 1);
        }
        rig.store.members.insert(other(1), (ms(0), ms(60_000)));
        if late {
            rig.effect(&registration);
        }
        let ran = rig.ran.len();
        rig.let_go(Kind::Renew);
        rig.run(ms(1_000));
        assert_ne!(rig.machine.instance(), id, "it starts over");
        assert_eq!(rig.ran.len(), ran, "it has the lease of nothing");
        assert!(owned(&rig).is_empty());
    }
}

/// Nobody deleted the row of an instance that does not know it: under its new id it would wait for it.
#[test]
fn an_instance_that_starts_over_leaves_no_row_behind() {
    for drains in [false, true] {
        let mut rig = Rig::new(settings(), of(40));
        rig.hold.insert(Kind::Renew);
        rig.step();
        let registration = rig.held_back(Kind::Renew);
        rig.reply(lost(&registration));
        rig.let_go(Kind::Renew);
        rig.run(ms(1_000));
        let id = rig.machine.instance();
        // The store cannot be reached for longer than the lease, and its row stays all the while.
        rig.hold.insert(Kind::Renew);
        rig.run(ms(12_000));
        rig.hold.insert(Kind::Release);
        if drains {
            let now = rig.time();
            rig.machine.drain(now);
        }
        rig.let_go(Kind::Renew);
        // Nothing is done for it any more while it leaves.
        let calls = rig.count(Kind::Renew) + rig.count(Kind::Acquire);
        rig.run(ms(1_000));
        assert_eq!(rig.count(Kind::Renew) + rig.count(Kind::Acquire), calls);
        assert!(owned(&rig).is_empty());
        rig.let_go(Kind::Release);
        rig.run(ms(100));
        assert!(!rig.store.members.contains_key(&id));
        if drains {
            assert!(rig.store.members.is_empty());
            let drained = |rig: &Rig| rig.machine.is_drained(rig.time());
            assert!(!drained(&rig), "something is in flight");
            for id in rig.in_flight() {
                rig.outcome(&id, ok());
            }
            assert!(drained(&rig));
        } else {
            assert_eq!(owned(&rig), [0, 1, 2, 3], "it need not wait for anybody");
        }
    }
}
