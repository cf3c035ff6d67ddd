//! Fetches: when one is worth its call, whom it serves, and how much it asks for.

use std::collections::BTreeSet;

use iobox_core::{
    dispatch::{Command, Settings},
    partition::Partition,
    queue::Queue,
    store::{Fetched, Hint, State},
};

use crate::{
    rig::{Kind, Reply, Rig, ms, ok, settings},
    store::Store,
};

/// A store whose partitions have this many messages without a key each.
fn full(partitions: u8, each: usize) -> Store {
    let mut store = Store::new(partitions);
    for n in 0..each {
        for partition in 0..partitions {
            store.enqueue(partition, &format!("p{partition}-{n}"), "", ms(0));
        }
    }
    store
}

/// Settings without a poll that comes of its own accord in the time of a test.
fn patient() -> Settings {
    let mut settings = settings();
    settings.poll_min = ms(60_000);
    settings.poll_max = ms(60_000);
    settings
}

#[test]
fn a_queue_that_is_a_right_is_never_fetched() {
    let mut settings = settings();
    settings.queue = Queue::Outbox;
    settings.rights_only = true;
    let mut rig = Rig::new(settings, full(2, 3));
    rig.run(ms(5_000));
    assert_eq!(rig.machine.partitions().count(), 2);
    assert_eq!(rig.count(Kind::Fetch), 0);
}

#[test]
fn a_fetch_asks_for_at_least_two_mebibytes_where_there_are_as_many() {
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (100, 100, 800);
    settings.max_buffered_bytes = 4 << 20;
    let mut rig = Rig::new(settings, full(1, 1));
    rig.step();
    assert_eq!(rig.fetches[0].bytes, 2 << 20);
}

#[test]
fn a_partition_that_is_not_known_to_have_rows_is_asked_for_few() {
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (200, 200, 200);
    let mut rig = Rig::new(settings, full(1, 400));
    rig.hold.insert(Kind::Fetch);
    rig.run(ms(10));
    assert_eq!(rig.fetches[0].partitions[0].limit, 64);
    rig.answer(Kind::Fetch);
    assert_eq!(rig.fetches[1].partitions[0].limit, 200);
}

#[test]
fn a_fetch_waits_for_room_that_is_worth_it_while_others_may_run() {
    let mut settings = settings();
    settings.fetch = 7;
    let mut rig = Rig::new(settings, full(1, 100));
    rig.run(ms(500));
    assert_eq!(rig.machine.buffered().0, 3 + 4 + 2 * 7, "memory is full");
    let before = rig.count(Kind::Fetch);
    for settled in 1..=4 {
        let id = rig.in_flight()[0].clone();
        rig.outcome(&id, ok());
        rig.run(ms(100));
        assert_eq!(
            rig.count(Kind::Fetch) > before,
            settled == 4,
            "room for {settled}"
        );
    }
}

/// What fills the memory waits for its turn behind rows in flight: nothing else could start.
#[test]
fn a_little_room_is_worth_a_fetch_when_nothing_may_run() {
    let mut store = Store::new(1);
    for n in 0..49 {
        store.enqueue(0, &format!("m{n}"), &format!("k{}", n % 7), ms(0));
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (4, 44, 8);
    let mut rig = Rig::new(settings, store);
    rig.run(ms(500));
    assert_eq!((rig.machine.buffered().0, rig.flying.len()), (49, 7));
    rig.store.enqueue(0, "late", "", rig.now);
    rig.run(ms(1_100));
    assert!(rig.in_flight().contains(&"late".to_owned()));
}

#[test]
fn a_wake_up_at_the_moment_of_the_reply_is_not_lost() {
    let mut rig = Rig::new(patient(), Store::new(1));
    rig.hold.insert(Kind::Fetch);
    rig.step();
    let fetch = rig.held_back(Kind::Fetch);
    let reply = rig.effect(&fetch);
    rig.store.enqueue(0, "m", "", ms(0));
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.hold.clear();
    rig.reply(reply);
    rig.step();
    assert_eq!(rig.in_flight(), ["m"]);
}

#[test]
fn each_fetch_of_a_few_partitions_begins_with_another() {
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (8, 8, 8);
    let mut rig = Rig::new(settings, full(4, 100));
    rig.script(|_| Some(ok()));
    while rig.store.count(State::Done) < 200 {
        rig.run(ms(1));
    }
    let first = |n: usize| rig.fetches[n].partitions[0].partition;
    let begins: Vec<Partition> = (4..12).map(first).collect();
    assert!(begins.windows(2).all(|two| two[0] != two[1]), "{begins:?}");
    assert_eq!(begins.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn a_fetch_of_many_busy_partitions_goes_on_behind_those_that_the_last_one_served() {
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (16, 16, 64);
    let mut rig = Rig::new(settings, full(16, 200));
    rig.script(|_| Some(ok()));
    while rig.store.count(State::Done) < 1_000 {
        rig.run(ms(1));
    }
    let served = |n: usize| -> BTreeSet<Partition> {
        let parts = rig.fetches[n].partitions.iter();
        parts.map(|part| part.partition).collect()
    };
    for n in 10..20 {
        let (one, next) = (served(n), served(n + 1));
        assert!(one.len() <= 8 && one.is_disjoint(&next), "{one:?} {next:?}");
    }
}

/// A key that fills its share with one reply is fetched again when it runs low, and its partition is
/// known to have more.
#[test]
fn what_a_reply_had_to_pass_over_is_fetched_as_its_key_runs_low() {
    let mut store = Store::new(1);
    for n in 0..40 {
        store.enqueue(0, &format!("m{n}"), "hot", ms(0));
    }
    let mut settings = patient();
    (settings.batch, settings.fetch, settings.max_in_flight) = (80, 80, 20);
    let mut rig = Rig::new(settings, store);
    rig.script(|_| Some(ok()));
    rig.run(ms(1_000));
    assert_eq!(rig.store.count(State::Done), 40);
    assert!(rig.fetches[1].partitions[0].limit > 64);
}

/// A store that hands out what it was told is held: the row runs once all the same.
#[test]
fn a_row_that_comes_twice_is_taken_once() {
    let mut rig = Rig::new(patient(), full(1, 1));
    rig.hold.insert(Kind::Fetch);
    rig.step();
    let fetch = rig.held_back(Kind::Fetch);
    let Reply::Fetched(call, Ok(fetched)) = rig.effect(&fetch) else {
        unreachable!()
    };
    rig.reply(Reply::Fetched(call, Ok(fetched.clone())));
    rig.step();
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.step();
    let Command::Fetch(call, _) = rig.held_back(Kind::Fetch) else {
        unreachable!()
    };
    rig.reply(Reply::Fetched(call, Ok(fetched)));
    rig.step();
    assert_eq!((rig.in_flight().len(), rig.ran.len()), (1, 1));
    assert_eq!(rig.machine.buffered().0, 1);
}

#[test]
fn what_arrives_while_a_partition_is_handed_over_is_left_to_the_next_owner() {
    let mut rig = Rig::new(patient(), full(1, 1));
    rig.step();
    rig.store.enqueue(0, "late", "", ms(0));
    rig.hold.insert(Kind::Fetch);
    let now = rig.time();
    rig.machine.wake(Hint::Wake, now);
    rig.step();
    let now = rig.time();
    rig.machine.drain(now);
    rig.step();
    rig.answer(Kind::Fetch);
    assert_eq!(rig.in_flight(), ["p0-0"]);
    assert_eq!(rig.machine.buffered().0, 1);
}

#[test]
fn a_reply_to_nothing_changes_nothing() {
    let mut rig = Rig::new(patient(), full(1, 1));
    rig.hold.insert(Kind::Fetch);
    rig.step();
    let Command::Fetch(call, request) = rig.held_back(Kind::Fetch) else {
        unreachable!()
    };
    let Reply::Fetched(_, Ok(fetched)) = rig.effect(&Command::Fetch(call, request)) else {
        unreachable!()
    };
    rig.reply(Reply::Fetched(call, Ok(Fetched::default())));
    rig.reply(Reply::Fetched(call, Ok(fetched)));
    rig.step();
    assert_eq!(rig.machine.buffered().0, 0);
}
