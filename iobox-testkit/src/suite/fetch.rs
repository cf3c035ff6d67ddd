//! Fetching: order, limits, and what a request leaves out.

use std::time::Duration;

use iobox_core::{
    message::Draft,
    partition::Partition,
    store::{Body, Fetched, Revision},
};

use super::{
    Harness,
    support::{
        Instance, TOPIC, aside_count, enqueue, entries, key, key_in, keyed, labels, partitions,
        plain, retry, run_of,
    },
};

/// The rows of a partition come in the order of their enqueues.
pub async fn rows_come_in_the_order_of_their_enqueues<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), keyed("k", "b"), keyed("l", "c")]).await;
    enqueue(&harness, &[plain("d"), keyed("k", "e")]).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["a", "b", "c", "d", "e"]);
    assert!(fetched.aside.is_empty(), "nothing is in the way");
}

/// A fetch of a store without messages brings nothing, and is no error.
pub async fn an_empty_store_has_nothing_to_fetch<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    for fetched in [one.fetch().await, one.sweep().await] {
        let Fetched {
            pending,
            aside,
            released,
            more,
        } = fetched;
        assert!(pending.is_empty() && aside.is_empty() && released.is_empty() && more.is_empty());
    }
}

/// A fetched row carries everything that its message was enqueued with, and no attempts.
pub async fn a_row_comes_as_it_was_enqueued<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let draft = Draft::new("orders.created", bytes.clone())
        .id("order-1")
        .key("customer 7")
        .header("x-second", "two")
        .header("X-First", "one \"quoted\" \\ 'é'");
    enqueue(&harness, &[draft]).await;
    let row = one.one().await;
    assert_eq!(row.partition, partitions(4).of("customer 7"));
    assert_eq!(row.key, Some(key("customer 7")));
    assert_eq!(
        (row.revision, row.attempt, row.crashes),
        (Revision(0), 0, 0)
    );
    assert!(!row.uncertain && !row.alone && !row.suspect, "{row:?}");
    let Body::Message(message) = row.body else {
        panic!("{:?} is corrupt", row.seq);
    };
    assert_eq!(row.size, message.size());
    assert_eq!(message.id().as_str(), "order-1");
    assert_eq!(message.topic().as_str(), "orders.created");
    assert_eq!(message.key(), Some(&key("customer 7")));
    assert_eq!(message.payload().as_ref(), bytes);
    let headers: Vec<_> = message.headers().iter().collect();
    let expected = [("x-second", "two"), ("X-First", "one \"quoted\" \\ 'é'")];
    assert_eq!(headers, expected, "in the order in which they were added");
}

/// The age of a row is counted by the store's clock from its enqueue.
pub async fn the_age_follows_the_clock_of_the_store<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    let hour = Duration::from_secs(3_600);
    assert!(one.one().await.age < hour);
    harness.advance(hour).await;
    let age = one.one().await.age;
    assert!((hour..2 * hour).contains(&age), "{age:?}");
}

/// A fetch returns at most as many rows as it asks for, the oldest first, and says that there are
/// more.
pub async fn the_row_limit_holds<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let some = one.fetch_with(|request| request.limit = 2).await;
    assert_eq!(labels(&some), ["a", "b"]);
    assert_eq!(
        some.more,
        [Partition::new(0)],
        "the partition holds one more"
    );
    let all = one.fetch().await;
    assert_eq!(labels(&all), ["a", "b", "c"]);
    assert!(all.more.is_empty(), "nothing is left: {:?}", all.more);
}

/// The limit of a partition holds within the limit of the request.
pub async fn the_limit_of_a_partition_holds<H: Harness>() {
    let (harness, one) = two_by_three::<H>().await;
    let fetched = one.fetch_each(|part| part.limit = 2).await;
    assert_eq!(labels(&fetched), ["p0", "p1", "q0", "q1"]);
    assert_eq!(fetched.more, [Partition::new(0), Partition::new(1)]);
    drop(harness);
}

/// Partitions are served in the order of the request until its limit is reached, and those that had
/// to wait are named as holding more.
pub async fn partitions_are_served_in_the_order_of_the_request<H: Harness>() {
    let (harness, one) = two_by_three::<H>().await;
    let ahead = one.fetch_with(|request| request.limit = 4).await;
    assert_eq!(labels(&ahead), ["p0", "p1", "p2", "q0"]);
    assert_eq!(ahead.more, [Partition::new(1)]);
    let back = one
        .fetch_with(|request| {
            request.partitions.reverse();
            request.limit = 2;
        })
        .await;
    assert_eq!(labels(&back), ["q0", "q1"]);
    let mut more = back.more;
    more.sort_unstable();
    assert_eq!(more, [Partition::new(0), Partition::new(1)]);
    drop(harness);
}

/// Only the partitions of the request are looked into.
pub async fn only_requested_partitions_are_looked_into<H: Harness>() {
    let (harness, one) = two_by_three::<H>().await;
    let fetched = one
        .fetch_with(|request| {
            request.partitions.remove(0);
        })
        .await;
    assert_eq!(labels(&fetched), ["q0", "q1", "q2"]);
    assert!(fetched.more.is_empty(), "nothing else was asked for");
    let none = one.fetch_with(|request| request.partitions.clear()).await;
    assert!(none.pending.is_empty() && none.more.is_empty(), "{none:?}");
    drop(harness);
}

/// A fetch returns at most as many bytes as it asks for, and each partition's oldest first.
pub async fn the_byte_limit_holds<H: Harness>() {
    let (harness, one) = two_by_three::<H>().await;
    let all = one.fetch().await;
    let size: usize = all.pending.iter().map(|row| row.size).sum();
    for bytes in [size - 1, size / 2, all.pending[0].size + 1] {
        let some = one.fetch_with(|request| request.bytes = bytes).await;
        let total: usize = some.pending.iter().map(|row| row.size).sum();
        assert!(total <= bytes, "{total} bytes of {bytes}");
        assert!(
            !some.pending.is_empty() && !some.more.is_empty(),
            "{some:?}"
        );
        for stem in ["p", "q"] {
            let got = labels(&some);
            let got: Vec<_> = got.iter().filter(|one| one.starts_with(stem)).collect();
            let oldest: Vec<_> = (0..got.len()).map(|n| format!("{stem}{n}")).collect();
            assert_eq!(got, oldest.iter().collect::<Vec<_>>());
        }
    }
    let exact = one.fetch_with(|request| request.bytes = size).await;
    assert_eq!(labels(&exact), labels(&all), "exactly as many as fit");
    drop(harness);
}

/// The first row comes even when it alone is larger than the bytes of the request.
pub async fn the_first_row_comes_however_large<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let large = Draft::new(TOPIC, "x".repeat(100_000));
    enqueue(&harness, &[large, plain("b")]).await;
    let fetched = one.fetch_with(|request| request.bytes = 1).await;
    assert_eq!(fetched.pending.len(), 1);
    assert!(fetched.pending[0].size > 100_000);
    assert_eq!(fetched.more, [Partition::new(0)]);
}

/// Rows that the caller holds are skipped, and do not count against the limit.
pub async fn held_rows_are_skipped<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(
        &harness,
        &[
            plain("a"),
            keyed("k", "b"),
            plain("c"),
            plain("d"),
            plain("e"),
        ],
    )
    .await;
    let all = one.fetch().await.pending;
    let held = [all[0].seq, all[1].seq, all[3].seq];
    let fetched = one
        .fetch_each(|part| {
            part.held = held.to_vec();
            part.limit = 2;
        })
        .await;
    assert_eq!(labels(&fetched), ["c", "e"]);
    assert!(fetched.more.is_empty(), "held rows are not more");
}

/// A held row still blocks its key when it is retrying.
pub async fn a_held_row_still_blocks<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("k", 2)).await;
    let head = one.fetch().await.pending.remove(0);
    one.apply(&head, retry(Duration::ZERO)).await;
    let fetched = one.fetch_each(|part| part.held = vec![head.seq]).await;
    assert!(fetched.pending.is_empty(), "the follower is blocked");
    assert_eq!(aside_count(&fetched), 1);
}

/// The rows of a full key are passed over, and the others behind them come.
pub async fn full_keys_are_passed_over<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("full", 3)).await;
    enqueue(&harness, &[keyed("other", "x"), plain("y")]).await;
    let fetched = full_fetch(&one, 10).await;
    assert_eq!(labels(&fetched), ["x", "y"]);
    assert!(fetched.aside.is_empty(), "three rows do not hide anything");
}

/// The rows of full keys are set aside when they alone would fill a fetch.
pub async fn a_crowd_of_a_full_key_is_set_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("full", 20)).await;
    enqueue(&harness, &[keyed("other", "x")]).await;
    let first = entries(harness.store().as_ref()).await[0].seq;
    let fetched = full_fetch(&one, 4).await;
    let [aside] = fetched.aside.as_slice() else {
        panic!("one key was set aside: {:?}", fetched.aside);
    };
    assert_eq!(aside.partition, Partition::new(0));
    assert_eq!(aside.key, key("full"));
    assert_eq!((aside.first, aside.count), (first, 20));
    assert_eq!(labels(&full_fetch(&one, 4).await), ["x"]);
}

/// Rows without a key are never set aside, however many rows of full keys are around them.
pub async fn rows_without_a_key_are_never_set_aside<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("full", 4)).await;
    enqueue(&harness, &[plain("x"), plain("y")]).await;
    enqueue(&harness, &run_of("full", 4)).await;
    assert_eq!(aside_count(&full_fetch(&one, 4).await), 8);
    assert_eq!(labels(&full_fetch(&one, 4).await), ["x", "y"]);
}

/// Rows behind a crowd, however large, come after a few fetches.
pub async fn a_crowd_hides_the_rest_only_for_a_while<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &run_of("full", 60)).await;
    enqueue(&harness, &[keyed("other", "x")]).await;
    for _ in 0..=15 {
        let fetched = full_fetch(&one, 4).await;
        if labels(&fetched) == ["x"] {
            return;
        }
        assert!(fetched.pending.is_empty(), "{:?}", labels(&fetched));
        assert!(aside_count(&fetched) >= 4, "each fetch makes room");
    }
    panic!("a row behind 60 rows of a full key was not found in 16 rounds of 4");
}

/// Several full keys together make a crowd.
pub async fn several_full_keys_together_are_a_crowd<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..8).map(|n| keyed(["k", "l"][n % 2], n)).collect();
    enqueue(&harness, &drafts).await;
    let fetched = one
        .fetch_each(|part| {
            part.limit = 4;
            part.full = vec![key("k"), key("l")];
        })
        .await;
    assert!(fetched.pending.is_empty(), "both keys are full");
    assert!(!fetched.aside.is_empty(), "eight rows fill a fetch of four");
}

/// Nothing that is waiting, dead, done or discarded is fetched.
pub async fn only_open_rows_are_fetched<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts = [
        keyed("k", "waits"),
        plain("dies"),
        plain("done"),
        plain("closed"),
        plain("open"),
    ];
    let ids = enqueue(&harness, &drafts).await;
    let rows = one.fetch().await.pending;
    one.set_aside(&rows[..1]).await;
    one.apply(&rows[1], super::support::dead(true)).await;
    one.apply(&rows[2], super::support::done()).await;
    super::support::discard_one(harness.store().as_ref(), &ids[3]).await;
    let fetched = one.fetch().await;
    assert_eq!(labels(&fetched), ["open"]);
    assert!(fetched.aside.is_empty() && fetched.more.is_empty());
}

/// A fetch changes nothing where nothing is in the way: the same rows come again with the same
/// revisions.
pub async fn a_fetch_changes_nothing<H: Harness>() {
    let (harness, one) = two_by_three::<H>().await;
    let first = one.fetch().await.pending;
    let again = one.fetch().await.pending;
    assert_eq!(first.len(), 6);
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.seq, first.revision), (again.seq, again.revision));
    }
    assert_eq!(first.len(), again.len());
    drop(harness);
}

/// Fetches with a row limit of `limit` while the key `full` is full.
async fn full_fetch<S: iobox_core::store::Store>(one: &Instance<S>, limit: usize) -> Fetched {
    one.fetch_each(|part| {
        part.limit = limit;
        part.full = vec![key("full")];
    })
    .await
}

/// Two partitions with three rows each: `p0 p1 p2` in the first, `q0 q1 q2` in the second.
async fn two_by_three<H: Harness>() -> (H, Instance<H::Store>) {
    let two = partitions(2);
    let harness = H::fresh(two).await;
    let one = Instance::owner(harness.store()).await;
    let (p, q) = (key_in(two, 0, "k"), key_in(two, 1, "k"));
    for n in 0..3 {
        enqueue(
            &harness,
            &[keyed(&q, format!("q{n}")), keyed(&p, format!("p{n}"))],
        )
        .await;
    }
    (harness, one)
}
