//! What is in memory: bounded in rows and bytes, replies under way included, and in what a kill repeats.

use iobox_core::{dispatch::Command, store::State};

use crate::{
    rig::{Kind, Rig, ms, ok, settings},
    store::Store,
};

#[test]
fn memory_holds_no_more_rows_than_there_is_room_for() {
    let mut store = Store::new(4);
    for n in 0..400_u16 {
        let partition = u8::try_from(n % 4).unwrap();
        let key = if n < 200 {
            format!("k{partition}")
        } else {
            String::new()
        };
        store.enqueue(partition, &format!("m{n}"), &key, ms(0));
    }
    for key in 0..4 {
        // The first of each key is dead and halts it: the others come to be set aside.
        let row = store.row_mut(&format!("m{key}"));
        row.state = State::Dead;
        row.halts = true;
    }
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.run(ms(3_000));
    let capacity = 3 + 4 + 2 * 4;
    assert!(
        rig.machine.buffered().0 <= capacity,
        "{} rows in memory, room for {capacity}",
        rig.machine.buffered().0
    );
    rig.script(|_| Some(ok()));
    rig.let_go(Kind::Settle);
    rig.run(ms(60_000));
    assert_eq!(
        (
            rig.store.count(State::Done),
            rig.store.count(State::Waiting)
        ),
        (200, 196)
    );
}

/// A kill repeats what was executed and is not settled: what is in flight, and one batch.
#[test]
fn what_a_kill_repeats_is_bounded() {
    let mut store = Store::new(1);
    for n in 0..60 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Settle);
    rig.script(|_| Some(ok()));
    rig.run(ms(400));
    assert_eq!(rig.ran.len(), 3 + 4);
}

/// A fetch waits for room for half of one, since a call has costs of its own; but not when nothing that is
/// there may run.
#[test]
fn any_room_is_worth_a_fetch_while_nothing_may_run() {
    // Eight keys with their heads in flight and an eighth of the memory each.
    let mut settings = settings();
    (settings.max_in_flight, settings.batch, settings.fetch) = (8, 8, 8);
    let capacity = 8 + 8 + 2 * 8;
    for free in [1, 0] {
        let mut store = Store::new(1);
        for n in 0..capacity - free {
            store.enqueue(0, &format!("m{n}"), &format!("k{}", n % 8), ms(0));
        }
        let mut rig = Rig::new(settings.clone(), store);
        rig.run(ms(2_000));
        assert_eq!(rig.machine.buffered().0, capacity - free);
        assert_eq!(rig.in_flight().len(), 8);
        rig.store.enqueue(0, "other", "", rig.now);
        let before = rig.count(Kind::Fetch);
        rig.run(ms(2_000));
        assert_eq!(rig.machine.buffered().0, capacity);
        if free == 0 {
            assert_eq!(rig.count(Kind::Fetch), before, "there is no room");
        } else {
            assert_eq!(rig.fetches.last().map(|request| request.limit), Some(free));
        }
    }
}

#[test]
fn fetches_side_by_side_fit_into_memory_together() {
    let mut store = Store::new(16);
    for n in 0..640_u16 {
        let partition = u8::try_from(n % 16).unwrap();
        store.enqueue(partition, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (16, 16, 8);
    let mut rig = Rig::new(settings, store);
    rig.hold.insert(Kind::Fetch);
    rig.run(ms(50));
    rig.answer(Kind::Fetch);
    rig.run(ms(50));
    let under_way = rig.waiting.iter().filter_map(|command| match command {
        Command::Fetch(_, request) => Some(request.limit),
        _ => None,
    });
    let under_way: Vec<usize> = under_way.collect();
    assert_eq!(rig.machine.buffered().0, 16);
    assert_eq!(
        under_way,
        [16, 16, 8],
        "8 + 16 + 2 * 16 rows are the capacity"
    );
}

/// Fetches of several partitions may be under way side by side: one that asked for all the bytes there
/// are would leave the next one with a handful, whatever its rows.
#[test]
fn a_fetch_asks_for_the_bytes_of_its_rows() {
    let mut store = Store::new(2);
    for n in 0..40_u8 {
        store.enqueue(n % 2, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (2, 2, 2);
    settings.max_buffered_bytes = 64 << 20;
    let mut rig = Rig::new(settings, store);
    rig.run(ms(500));
    let first = &rig.fetches[0];
    assert_eq!(
        (first.limit, first.bytes),
        (2, 16 << 20),
        "2 of 2 + 2 + 2 * 2 rows"
    );
    for fetch in &rig.fetches {
        assert!(fetch.bytes >= fetch.limit << 20, "{fetch:?}");
    }
}

/// The fetch that asks for the last of the rows leaves bytes to those that go free meanwhile.
#[test]
fn the_fetch_that_fills_the_memory_leaves_bytes_to_the_next() {
    let mut store = Store::new(2);
    for n in 0..100_u8 {
        store.enqueue(n % 2, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (10, 20, 10);
    settings.max_buffered_bytes = 600 << 20;
    let mut rig = Rig::new(settings, store);
    rig.hold.insert(Kind::Fetch);
    rig.step();
    rig.answer(Kind::Fetch);
    for id in rig.in_flight() {
        rig.outcome(&id, ok());
    }
    rig.script(|_| Some(ok()));
    for _ in 0..40 {
        rig.run(ms(10));
        if !rig.waiting.is_empty() {
            rig.answer(Kind::Fetch);
        }
    }
    for fetch in rig.fetches.iter().filter(|fetch| fetch.limit > 0) {
        assert_eq!(fetch.bytes, fetch.limit * (10 << 20), "{fetch:?}");
    }
    assert!(rig.store.count(State::Done) == 100);
}
