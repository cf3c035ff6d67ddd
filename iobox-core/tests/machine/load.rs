//! What a settle takes: how much, of which partitions, and what goes beside it.

use iobox_core::{
    dispatch::Command,
    partition::Partition,
    store::{Settlement, State},
};

use crate::{
    rig::{Kind, Rig, lost, ms, ok, settings},
    settle::settlements,
    store::Store,
};

/// What is in flight is done all at once, before the machine is asked what to do.
fn all_done_at_once(rig: &mut Rig) {
    let now = rig.time();
    for (run, _) in std::mem::take(&mut rig.flying) {
        rig.machine.outcome(run, ok(), now);
    }
    rig.step();
}

/// The sizes of the settles, at most so many of at most `batch` rows, that go when `each` messages of each
/// partition are done at once.
fn side_by_side(settles: usize, batch: usize, partitions: u8, each: usize) -> Vec<usize> {
    let mut store = Store::new(partitions);
    for n in 0..each {
        for partition in 0..partitions {
            store.enqueue(partition, &format!("p{partition}-{n}"), "", ms(0));
        }
    }
    let all = usize::from(partitions) * each;
    let mut settings = settings();
    settings.settles = settles;
    (settings.max_in_flight, settings.batch, settings.fetch) = (all, batch, all);
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig.hold.insert(Kind::Settle);
    all_done_at_once(&mut rig);
    let sizes = rig.waiting.iter().map(|call| settlements(call).len());
    sizes.collect()
}

#[test]
fn a_settle_takes_all_that_is_ready_up_to_a_batch() {
    assert_eq!(side_by_side(4, 8, 4, 2), [8]);
    assert_eq!(side_by_side(4, 4, 4, 2), [4, 4]);
    assert_eq!(
        side_by_side(4, 3, 4, 2),
        [3, 3],
        "a partition that is in one waits"
    );
    assert_eq!(side_by_side(1, 4, 4, 2), [4]);
    assert_eq!(side_by_side(8, 2, 2, 4), [2, 2], "each partition has one");
}

/// Somebody may have locked a row of one of the partitions.
#[test]
fn a_settle_that_fails_on_and_on_fails_for_no_other_partition() {
    let mut store = Store::new(3);
    for n in 0..9 {
        store.enqueue(n % 3, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    (settings.max_in_flight, settings.batch, settings.fetch) = (9, 9, 9);
    let mut rig = Rig::new(settings, store);
    rig.script(|_| Some(ok()));
    rig.hold.insert(Kind::Settle);
    for _ in 0..20 {
        rig.run(ms(100));
        while !rig.waiting.is_empty() {
            let call = rig.held_back(Kind::Settle);
            let stuck = |settlement: &Settlement| settlement.partition == Partition::new(1);
            let reply = if settlements(&call).iter().any(stuck) {
                lost(&call)
            } else {
                rig.effect(&call)
            };
            rig.reply(reply);
            rig.step();
        }
    }
    assert_eq!(rig.store.count(State::Done), 6);
    rig.let_go(Kind::Settle);
    rig.run(ms(2_000));
    assert_eq!(rig.store.count(State::Done), 9);
}

/// It goes alone when its turn comes, however much the others have to settle.
#[test]
fn a_partition_whose_settle_failed_has_its_turn_beside_busy_ones() {
    let mut store = Store::new(3);
    for n in 0..60 {
        store.enqueue(n % 3, &format!("m{n}"), "", ms(0));
    }
    let mut settings = settings();
    (settings.max_in_flight, settings.batch, settings.fetch) = (60, 3, 60);
    let mut rig = Rig::new(settings, store);
    rig.hold.insert(Kind::Settle);
    rig.step();
    let about = |rig: &Rig| -> Vec<u8> {
        let settlements = settlements(&rig.waiting[0]).iter();
        settlements.map(|one| one.partition.number()).collect()
    };
    // The settle of partition 1 fails, and the last one before it may go again is of partition 2. From then on
    // the others have outcomes again before each reply.
    rig.outcome("m1", ok());
    rig.run(ms(3));
    let call = rig.held_back(Kind::Settle);
    rig.reply(lost(&call));
    rig.step();
    rig.outcome("m2", ok());
    rig.run(ms(3));
    rig.answer(Kind::Settle);
    let mut calls = Vec::new();
    for n in 1..8 {
        rig.outcome(&format!("m{}", 3 * n), ok());
        rig.outcome(&format!("m{}", 3 * n + 2), ok());
        rig.run(ms(if n == 1 { 3 } else { 100 }));
        if n > 1 {
            calls.push(about(&rig));
            rig.answer(Kind::Settle);
        }
    }
    assert!(calls.contains(&vec![1]), "{calls:?}");
    assert_eq!(rig.store.row("m1").state, State::Done, "{calls:?}");
}

/// One with more outcomes than fit into a settle does not keep the others waiting.
#[test]
fn every_partition_has_its_turn_in_a_settle() {
    let mut store = Store::new(3);
    for n in 0..20 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    store.enqueue(1, "one", "", ms(0));
    store.enqueue(2, "two", "", ms(0));
    let mut settings = settings();
    (settings.max_in_flight, settings.batch, settings.fetch) = (22, 2, 22);
    let mut rig = Rig::new(settings, store);
    rig.step();
    rig.hold.insert(Kind::Settle);
    all_done_at_once(&mut rig);
    let about = |call: &Command| {
        let settlements = settlements(call).iter();
        let numbers = settlements.map(|settlement| settlement.partition.number());
        numbers.collect::<Vec<_>>()
    };
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(about(&rig.waiting[0]));
        rig.answer(Kind::Settle);
    }
    assert_eq!(calls, [vec![0, 0], vec![1, 2], vec![0, 0], vec![0, 0]]);
}

/// A few large settles cost less than many small ones.
#[test]
fn beside_another_settle_goes_a_whole_batch_or_what_waited_for_long() {
    let rig = || {
        let mut store = Store::new(12);
        for partition in 0..12 {
            store.enqueue(partition, &format!("m{partition}"), "", ms(0));
        }
        let mut settings = settings();
        settings.settles = 2;
        settings.settle_linger = ms(2);
        (settings.max_in_flight, settings.batch, settings.fetch) = (12, 4, 12);
        let mut rig = Rig::new(settings, store);
        rig.step();
        rig.hold.insert(Kind::Settle);
        rig.outcome("m0", ok());
        rig.outcome("m1", ok());
        assert_eq!(
            rig.count(Kind::Settle),
            1,
            "a part of a batch is enough for the first"
        );
        for id in ["m2", "m3", "m4"] {
            rig.outcome(id, ok());
        }
        rig.run(ms(10));
        assert_eq!(rig.count(Kind::Settle), 1, "others may join the three");
        rig
    };
    let sizes = |rig: &Rig| -> Vec<usize> {
        let calls = rig.waiting.iter();
        calls.map(|call| settlements(call).len()).collect()
    };
    let mut full = rig();
    full.outcome("m5", ok());
    assert_eq!(sizes(&full), [2, 4], "a whole batch");
    let mut late = rig();
    late.run(ms(10));
    assert_eq!(
        sizes(&late),
        [2, 3],
        "ten times as long as without another one"
    );
    let mut answered = rig();
    answered.answer(Kind::Settle);
    answered.step();
    assert_eq!(sizes(&answered), [3], "the reply made room");
}

/// A fetch that clears takes the server as long as a settle does.
#[test]
fn a_fetch_that_clears_has_the_place_of_one_of_several_settles() {
    for clears in [false, true] {
        let mut store = Store::new(3);
        for n in 0..if clears { 40 } else { 3 } {
            store.enqueue(0, &format!("a{n}"), if clears { "a" } else { "" }, ms(0));
        }
        for n in 0..3_u8 {
            for partition in [1, 2] {
                store.enqueue(partition, &format!("p{partition}-{n}"), "", ms(0));
            }
        }
        if clears {
            let row = store.row_mut("a0");
            row.state = State::Dead;
            row.halts = true;
        }
        let mut settings = settings();
        settings.settles = 2;
        (settings.max_in_flight, settings.batch, settings.fetch) = (60, 3, 8);
        let mut rig = Rig::new(settings, store);
        rig.hold.extend([Kind::Fetch, Kind::Settle]);
        rig.step();
        rig.answer(Kind::Fetch);
        rig.run(ms(2));
        let under_way = rig.waiting.iter().find_map(|call| match call {
            Command::Fetch(_, request) => Some(request.limit),
            _ => None,
        });
        assert_eq!(under_way.expect("a fetch is under way") == 0, clears);
        all_done_at_once(&mut rig);
        let settles = rig.count(Kind::Settle);
        assert_eq!(settles, if clears { 1 } else { 2 });
    }
}
