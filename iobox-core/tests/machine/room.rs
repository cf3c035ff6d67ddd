//! Rule 1: one message of a key at a time, in order; no more in flight or in memory than there is
//! room for; a slow or hot key hides nobody.

use std::collections::BTreeMap;

use iobox_core::store::State;
use proptest::prelude::*;

use crate::{
    rig::{Kind, Rig, ms, ok, permanent, settings},
    store::Store,
};

fn sorted(ids: &[String]) -> bool {
    let numbers: Vec<u32> = ids.iter().map(|id| number(id)).collect();
    numbers.is_sorted()
}

fn number(id: &str) -> u32 {
    id.trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap()
}

#[test]
fn one_message_of_a_key_is_in_flight_at_a_time_in_queue_order() {
    let mut store = Store::new(1);
    for n in 0..9 {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    for n in 0..9 {
        rig.run(ms(50));
        assert_eq!(rig.in_flight(), [format!("a{n}")]);
        rig.outcome(&format!("a{n}"), ok());
    }
    rig.run(ms(50));
    assert_eq!(rig.store.count(State::Done), 9);
}

#[test]
fn messages_of_other_keys_and_without_a_key_go_side_by_side_up_to_max_in_flight() {
    let mut store = Store::new(2);
    for n in 0..20_u8 {
        let key = if n % 3 == 0 {
            String::new()
        } else {
            n.to_string()
        };
        store.enqueue(n % 2, &format!("m{n}"), &key, ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.run(ms(500));
    assert_eq!(rig.machine.in_flight(), 3);
    while let Some(id) = rig.in_flight().first().cloned() {
        rig.outcome(&id, ok());
        assert!(rig.machine.in_flight() <= 3);
        rig.run(ms(20));
    }
    assert_eq!(rig.store.count(State::Done), 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the sizes, memory holds at most the capacity in rows, and in bytes the maximum and
    /// one message more.
    #[test]
    fn memory_stays_within_its_bounds(
        keys in prop::collection::vec(0..6_u8, 1..120),
        batch in 1..12_usize,
        in_flight in 1..12_usize,
        bytes in 1..400_usize,
        held in prop::collection::vec(0..4_u8, 0..30),
    ) {
        let mut store = Store::new(2);
        for (n, key) in keys.iter().enumerate() {
            let name = if *key == 0 { String::new() } else { format!("k{key}") };
            store.enqueue(key % 2, &format!("m{n}"), &name, ms(0));
        }
        let size = store.rows.values().map(|row| row.message.size()).max().unwrap();
        let mut settings = settings();
        settings.batch = batch;
        settings.fetch = batch;
        settings.max_in_flight = in_flight;
        settings.max_buffered_bytes = bytes;
        let mut rig = Rig::new(settings, store);
        let within = |rig: &Rig| {
            let (rows, held) = rig.machine.buffered();
            prop_assert!(rows <= in_flight + 3 * batch, "{rows} rows");
            prop_assert!(held < bytes + size, "{held} bytes of {bytes}");
            prop_assert!(rig.machine.in_flight() <= in_flight);
            Ok(())
        };
        for choice in held {
            match choice {
                0 => { rig.hold.insert(Kind::Settle); }
                1 => rig.let_go(Kind::Settle),
                2 => if let Some(id) = rig.in_flight().first().cloned() { rig.outcome(&id, ok()); },
                _ => if let Some(id) = rig.in_flight().last().cloned() { rig.outcome(&id, permanent()); },
            }
            rig.run(ms(10));
            within(&rig)?;
        }
        rig.let_go(Kind::Settle);
        rig.script(|_| Some(ok()));
        rig.run(ms(200_000));
        within(&rig)?;
        let open: Vec<_> = rig.store.rows.values().filter(|row| row.is_open() || row.state == State::Waiting).collect();
        prop_assert!(open.iter().all(|row| rig.store.is_blocked(row)), "left: {open:?}");
    }
}

#[test]
fn a_fetch_names_exactly_the_rows_in_memory_as_held() {
    let mut store = Store::new(1);
    for n in 0..30 {
        store.enqueue(0, &format!("m{n}"), "", ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.hold.insert(Kind::Fetch);
    rig.run(ms(10));
    let mut sent = 0;
    // A fetch that was sent just now.
    let mut is_exact = |rig: &Rig, round: usize| {
        if rig.fetches.len() > sent {
            sent = rig.fetches.len();
            let held = &rig.fetches[sent - 1].partitions[0].held;
            assert_eq!(held.len(), rig.machine.buffered().0, "in round {round}");
        }
    };
    for round in 0..40 {
        if rig.waiting.is_empty() {
            break;
        }
        is_exact(&rig, round);
        rig.answer(Kind::Fetch);
        is_exact(&rig, round);
        for id in rig.in_flight().into_iter().take(round % 3 + 1) {
            // The row leaves memory with its settlement, before the next fetch is sent.
            rig.outcome(&id, ok());
            is_exact(&rig, round);
        }
        let in_flight = rig.in_flight();
        if rig.waiting.is_empty() {
            rig.run(ms(1_000));
        }
        let held = &rig.fetches.last().unwrap().partitions[0].held;
        for id in in_flight {
            assert!(
                held.contains(&rig.store.row(&id).seq),
                "{id} runs and is not named"
            );
        }
    }
}

#[test]
fn a_slow_key_does_not_hide_its_partition() {
    let mut store = Store::new(1);
    for n in 0..200 {
        store.enqueue(0, &format!("slow{n}"), "slow", ms(0));
    }
    for n in 0..20 {
        store.enqueue(0, &format!("b{n}"), &format!("b{}", n % 2), ms(0));
    }
    let mut rig = Rig::new(settings(), store);
    rig.script(|message| (!message.id().as_str().starts_with("slow")).then(ok));
    rig.run(ms(10_000));
    assert_eq!(rig.store.count(State::Done), 20);
    assert_eq!(rig.in_flight(), ["slow0"]);
}

#[test]
fn a_hot_key_does_not_hide_its_partition_and_keeps_its_own_pace() {
    let mut store = Store::new(1);
    for n in 0..2_000 {
        store.enqueue(0, &format!("hot{n}"), "hot", ms(0));
    }
    for n in 0..50 {
        store.enqueue(0, &format!("b{n}"), &format!("b{}", n % 2), ms(0));
    }
    let mut settings = settings();
    settings.batch = 100;
    settings.fetch = 100;
    settings.max_in_flight = 100;
    let mut rig = Rig::new(settings, store);
    rig.script(|_| Some(ok()));
    let mut others_done = None;
    let mut all_done = None;
    for tick in 0..3_000 {
        rig.run(ms(10));
        let others = rig.ran.iter().filter(|id| id.starts_with('b')).count();
        if others == 50 && others_done.is_none() {
            others_done = Some(tick * 10);
        }
        if rig.ran.len() == 2_050 {
            all_done = Some(tick * 10);
            break;
        }
    }
    let hot: Vec<String> = rig
        .ran
        .iter()
        .filter(|id| id.starts_with("hot"))
        .cloned()
        .collect();
    assert!(sorted(&hot), "the hot key is out of order");
    assert!(
        others_done.is_some_and(|at| at < 2_000),
        "others after {others_done:?} ms"
    );
    assert!(
        all_done.is_some_and(|at| at < 5_000),
        "all after {all_done:?} ms"
    );
}

/// A row that was committed late and is set aside for crowding is not overtaken by later ones of its
/// key that are in memory already.
#[test]
fn a_late_row_that_is_set_aside_is_not_overtaken() {
    let mut store = Store::new(1);
    store.enqueue(0, "a0", "a", ms(0));
    let early = store.draw();
    for n in 2..6 {
        store.enqueue(0, &format!("a{n}"), "a", ms(0));
    }
    let mut settings = settings();
    settings.batch = 50;
    settings.fetch = 50;
    let mut rig = Rig::new(settings, store);
    rig.step();
    assert_eq!(
        (rig.in_flight(), rig.machine.buffered().0),
        (vec!["a0".to_owned()], 5)
    );
    rig.hold.insert(Kind::Fetch);
    rig.run(ms(1_000));
    // A fetch finds it in a crowd.
    rig.find_aside(early, "a1", "a");
    rig.script(|_| Some(ok()));
    rig.outcome("a0", ok());
    rig.let_go(Kind::Fetch);
    rig.run(ms(20_000));
    assert!(sorted(&rig.ran), "{:?}", rig.ran);
    assert_eq!(rig.store.count(State::Done), 6);
}

#[test]
fn partitions_take_turns() {
    let mut store = Store::new(4);
    for n in 0..400 {
        let partition = u8::try_from(n % 4).unwrap();
        store.enqueue(partition, &format!("p{partition}-{n}"), "", ms(0));
    }
    let mut settings = settings();
    settings.max_in_flight = 1;
    settings.batch = 40;
    settings.fetch = 40;
    let mut rig = Rig::new(settings, store);
    rig.script(|_| Some(ok()));
    while rig.ran.len() < 120 {
        rig.run(ms(1));
    }
    let mut ran = BTreeMap::<&str, u32>::new();
    for id in rig.ran.iter().take(120) {
        *ran.entry(&id[..2]).or_default() += 1;
    }
    assert!(ran.len() == 4 && ran.values().all(|n| *n >= 15), "{ran:?}");
}

/// What a hot key costs beyond its messages: rows that go to waiting and back.
#[test]
fn a_row_of_a_hot_key_is_set_aside_about_once() {
    for (batch, in_flight, total) in [(1_000, 1_000, 2_000), (100, 100, 800), (20, 3, 400)] {
        let mut store = Store::new(1);
        for n in 0..total {
            store.enqueue(0, &format!("m{n}"), "hot", ms(0));
        }
        let mut settings = settings();
        settings.batch = batch;
        settings.fetch = batch;
        settings.max_in_flight = in_flight;
        let mut rig = Rig::new(settings, store);
        while rig.ran.len() < total && rig.now < ms(60_000) {
            rig.run(ms(2));
            if let Some(id) = rig.in_flight().first().cloned() {
                rig.outcome(&id, ok());
            }
        }
        let aside = rig.store.aside;
        assert!(
            aside <= total + total / 2,
            "{aside} of {total} with a batch of {batch}"
        );
        let least = ms(2) * u32::try_from(total).unwrap();
        assert!(
            rig.now < least + least / 4,
            "{:?} instead of {least:?}",
            rig.now
        );
        assert!(sorted(&rig.ran));
    }
}

/// Keys that go alike are not full while there is room: none of their rows goes to waiting and back,
/// also not behind a crowd that takes many calls to set aside.
#[test]
fn rows_of_keys_that_go_alike_are_not_set_aside() {
    let followers = 9_000;
    let mut store = Store::new(1);
    for n in 0..=followers {
        store.enqueue(0, &format!("dead{n}"), "dead", ms(0));
    }
    let total = 60 * 150;
    for n in 0..total {
        store.enqueue(0, &format!("m{n}"), &format!("k{}", n % 60), ms(0));
    }
    let mut settings = settings();
    settings.batch = 1_000;
    settings.fetch = 1_000;
    settings.max_in_flight = 1_000;
    let mut rig = Rig::new(settings, store);
    rig.script(|message| {
        let dead = message.id().as_str() == "dead0";
        Some(if dead { permanent() } else { ok() })
    });
    while rig.store.count(State::Done) < total && rig.now < ms(60_000) {
        rig.run(ms(2));
    }
    assert_eq!(rig.store.count(State::Done), total);
    assert_eq!(rig.store.aside, followers);
}

/// A key that goes fast may have more of the buffer than it starts with.
#[test]
fn the_share_of_a_key_grows_with_its_pace() {
    let mut store = Store::new(1);
    for n in 0..2_000 {
        store.enqueue(0, &format!("m{n}"), "hot", ms(0));
    }
    let mut settings = settings();
    (settings.batch, settings.fetch, settings.max_in_flight) = (1_000, 1_000, 1_000);
    let mut rig = Rig::new(settings, store);
    let mut most = 0;
    while rig.ran.len() < 2_000 {
        rig.run(ms(2));
        most = most.max(rig.machine.buffered().0);
        if let Some(id) = rig.in_flight().first().cloned() {
            rig.outcome(&id, ok());
        }
    }
    assert!(most > 2 * 64 && most <= 500, "{most} rows of one key");
}
