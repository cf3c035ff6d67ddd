//! Rule 2: at most one fetch and one settle of a partition are under way, and what a fetch returns
//! of a key that was closed meanwhile is dropped.

use std::collections::BTreeSet;

use iobox_core::{
    dispatch::Command,
    store::{Hint, State},
};

use crate::{
    rig::{Kind, Rig, lost, ms, ok, settings, transient},
    store::Store,
};

#[test]
fn at_most_one_fetch_and_one_settle_of_a_partition_are_under_way() {
    let mut store = Store::new(2);
    for n in 0..40 {
        store.enqueue(u8::try_from(n % 2).unwrap(), &format!("m{n}"), "", ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.hold.extend([Kind::Fetch, Kind::Settle]);
    rig.script(|_| Some(ok()));
    for round in 0..200 {
        rig.run(ms(10));
        let mut fetching = BTreeSet::new();
        let mut settling = BTreeSet::new();
        for command in &rig.waiting {
            match command {
                Command::Fetch(_, request) => {
                    for part in &request.partitions {
                        assert!(
                            fetching.insert(part.partition),
                            "two fetches of one partition"
                        );
                    }
                }
                Command::Settle(_, settlements) => {
                    let of: BTreeSet<_> = settlements.iter().map(|s| s.partition).collect();
                    for partition in of {
                        assert!(settling.insert(partition), "two settles of one partition");
                    }
                }
                _ => {}
            }
        }
        let time = rig.time();
        rig.machine.wake(Hint::Wake, time);
        let kind = if round % 3 == 0 {
            Kind::Settle
        } else {
            Kind::Fetch
        };
        if rig.waiting.iter().any(|command| Kind::of(command) == kind) {
            rig.answer(kind);
        }
    }
    assert!(rig.store.count(State::Done) > 20);
}

#[test]
fn rows_of_a_key_that_was_closed_since_the_fetch_was_sent_are_dropped() {
    let mut store = Store::new(1);
    store.enqueue(0, "a0", "a", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.step();
    rig.store.enqueue(0, "a1", "a", rig.now);
    rig.store.enqueue(0, "b0", "b", rig.now);
    rig.hold.insert(Kind::Fetch);
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.step();
    // The store answers, then a0 fails and is settled, and only then does the answer arrive.
    let fetch = rig.held_back(Kind::Fetch);
    let reply = rig.effect(&fetch);
    rig.outcome("a0", transient());
    rig.run(ms(10));
    assert_eq!(rig.store.row("a0").state, State::Retrying);
    rig.reply(reply);
    rig.step();
    assert_eq!(rig.in_flight(), ["b0"], "a1 waits behind a0");
}

#[test]
fn rows_of_a_failed_key_that_came_before_its_settlement_are_dropped_with_it() {
    let mut store = Store::new(1);
    store.enqueue(0, "a0", "a", ms(0));
    store.enqueue(0, "a1", "a", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.step();
    rig.hold.insert(Kind::Settle);
    rig.outcome("a0", transient());
    rig.run(ms(100));
    assert!(
        rig.in_flight().is_empty(),
        "a1 waits for the settlement of a0"
    );
    rig.let_go(Kind::Settle);
    rig.hold.insert(Kind::Fetch);
    assert!(rig.in_flight().is_empty(), "a1 waits for a0");
}

#[test]
fn a_row_in_memory_is_not_taken_twice() {
    let mut store = Store::new(1);
    store.enqueue(0, "m0", "", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Fetch);
    rig.step();
    let Command::Fetch(call, request) = rig.held_back(Kind::Fetch) else {
        unreachable!()
    };
    let now = rig.now;
    let mut fetched = rig.store.fetch(&request, now);
    let copy = fetched.pending[0].clone();
    fetched.pending.push(copy);
    let time = rig.time();
    rig.machine.fetched(call, Ok(fetched.clone()), time);
    // A reply that comes twice is ignored.
    rig.machine.fetched(call, Ok(fetched), time);
    rig.step();
    assert_eq!((rig.machine.buffered().0, rig.in_flight().len()), (1, 1));
}

#[test]
fn a_lost_fetch_forgets_neither_a_release_nor_a_sweep() {
    let mut store = Store::new(1);
    for n in 0..60 {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
    }
    store.row_mut("a0").state = State::Dead;
    store.row_mut("a0").halts = true;
    let mut rig = Rig::new(settings(), store);
    rig.run(ms(5_000));
    assert_eq!(rig.store.count(State::Waiting), 59);
    // An operator discards the dead row: the next sweep finds its followers.
    rig.store.row_mut("a0").state = State::Discarded;
    rig.hold.insert(Kind::Fetch);
    let sweeps = |command: &Command| match command {
        Command::Fetch(_, request) => request.partitions[0].sweep,
        _ => false,
    };
    let swept = loop {
        rig.run(ms(1));
        if let Some(fetch) = rig.waiting.pop_front() {
            if sweeps(&fetch) {
                break fetch;
            }
            let reply = rig.effect(&fetch);
            rig.reply(reply);
        }
    };
    rig.reply(lost(&swept));
    rig.run(ms(100));
    assert!(
        sweeps(&rig.held_back(Kind::Fetch)),
        "the sweep that was lost is asked for again"
    );
}

#[test]
fn a_retry_is_fetched_when_it_is_due() {
    let mut store = Store::new(1);
    store.enqueue(0, "m0", "", ms(0));
    let mut rig = Rig::new(settings(), store);
    rig.run(ms(5_000));
    let after = ms(300);
    rig.outcome(
        "m0",
        iobox_core::dispatch::Outcome::Transient {
            reason: String::new(),
            after: Some(after),
        },
    );
    let failed = rig.now;
    // Fetches before it is due do not make the machine forget when it is.
    rig.run(ms(310));
    assert_eq!(
        rig.in_flight(),
        ["m0"],
        "due since {:?}",
        rig.now - failed - after
    );
}
