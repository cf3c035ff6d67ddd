//! What a driver asks the machine: whether it may sleep, how much it holds, how old that is.

use iobox_core::{
    dispatch::Command,
    partition::Partition,
    store::{Fetched, Hint},
};

use crate::{
    rig::{Kind, Reply, Rig, ms, ok, settings},
    store::Store,
};

#[test]
fn it_is_idle_when_nothing_is_here_under_way_or_known_to_be_there() {
    let mut rig = Rig::new(settings(), Store::new(2));
    assert!(!rig.machine.is_idle(), "it does not know yet what it owns");
    rig.hold.insert(Kind::Fetch);
    rig.step();
    assert!(!rig.machine.is_idle(), "a fetch is under way");
    let Command::Fetch(call, _) = rig.held_back(Kind::Fetch) else {
        unreachable!()
    };
    let fetched = Fetched {
        more: vec![Partition::new(1)],
        ..Fetched::default()
    };
    rig.reply(Reply::Fetched(call, Ok(fetched)));
    assert!(!rig.machine.is_idle(), "a partition has more");
    rig.step();
    rig.let_go(Kind::Fetch);
    rig.run(ms(100));
    assert!(rig.machine.is_idle());
    rig.store.enqueue(0, "m", "", rig.now);
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.step();
    rig.run(ms(100));
    assert!(!rig.machine.is_idle(), "a message is in flight");
    rig.outcome("m", ok());
    rig.run(ms(100));
    assert!(rig.machine.is_idle());
    rig.hold.insert(Kind::Release);
    let now = rig.time();
    rig.machine.drain(now);
    assert!(!rig.machine.is_idle(), "it has to give everything back");
    rig.step();
    assert!(!rig.machine.is_idle());
}

#[test]
fn it_tells_how_much_is_in_memory_and_how_old_the_oldest_of_it_is() {
    let mut rig = Rig::new(settings(), Store::new(2));
    rig.step();
    assert_eq!(rig.machine.oldest_age(rig.time()), None);
    rig.store.enqueue(0, "m0", "k", ms(0));
    rig.now = ms(100);
    rig.store.enqueue(1, "m1", "", ms(100));
    rig.now = ms(300);
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.step();
    rig.now = ms(350);
    let bytes: usize = rig.store.rows.values().map(|row| row.message.size()).sum();
    assert_eq!(rig.machine.buffered(), (2, bytes));
    assert_eq!(rig.machine.oldest_age(rig.time()), Some(ms(350)));
    rig.outcome("m0", ok());
    rig.run(ms(100));
    assert_eq!(rig.machine.oldest_age(rig.time()), Some(ms(350)));
    let shown = format!("{:?}", rig.machine);
    assert!(
        shown.contains("partitions: 2") && shown.contains("in_flight: 1"),
        "{shown}"
    );
}
