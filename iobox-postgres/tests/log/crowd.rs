//! A crowd: a key with thousands of messages that wait.

use std::sync::Arc;

use iobox_core::{
    Result,
    message::{Draft, MessageId, OrderingKey},
    queue::Queue,
    store::{
        Admin, Change, FetchRequest, Filter, Page, Pending, Selection, Settled, State, Store,
        Verdict,
    },
};
use tokio::task::JoinHandle;

use crate::{
    count, dead, done, drafts, ids, settle_all,
    support::{DONE, Owner, Schema, connection, enqueue, run, until_locked_out},
};

/// A key with thousands of messages behind one that died: the others get past, none of the thousands is
/// written, and when the key goes on they come in order, each once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_parked_and_comes_back_in_order() {
    const CROWD: usize = 3_000;
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let odd = |from: usize, to: usize| -> Vec<Draft> {
        (from..to)
            .map(|n| Draft::new("t", "x").id(format!("odd-{n}")).key("odd"))
            .collect()
    };
    enqueue(&store, &odd(0, CROWD)).await;
    enqueue(&store, &drafts("other", 400)).await;
    let head = owner.fetch(1).await.pending;
    assert_eq!(owner.settle(&head, &dead()).await, [Settled::Applied]);
    let (mut others, mut aside) = (0, 0);
    for _ in 0..100 {
        let fetched = owner.fetch(100).await;
        aside += fetched.aside.iter().map(|one| one.count).sum::<usize>();
        assert!(ids(&fetched).iter().all(|id| id.starts_with("other")));
        others += fetched.pending.len();
        owner.settle(&fetched.pending, &DONE).await;
        if others == 400 {
            break;
        }
    }
    assert_eq!((others, aside), (400, CROWD - 1));
    let written = "select count(*) from {s}.message where state not in (3, 6)";
    assert!(
        count(&schema, written).await < 256,
        "few of them were written"
    );
    let behind_the_crowd = "select count(*) from {s}.cursor where upto >= (
        select max(seq) from {s}.message where key = 'odd')";
    assert_eq!(count(&schema, behind_the_crowd).await, 1);

    // More of it comes, and waits as well.
    enqueue(&store, &odd(CROWD, CROWD + 50)).await;
    let fetched = owner.fetch(100).await;
    assert!(fetched.pending.is_empty() && !fetched.aside.is_empty());
    let stats = store.stats(&Queue::Outbox).await.unwrap();
    assert_eq!((stats.pending, stats.dead, stats.halted_keys), (0, 1, 1));
    assert_eq!(stats.waiting, u64::try_from(CROWD + 49).unwrap());
    let waiting = Filter {
        states: vec![State::Waiting],
        ..Filter::default()
    };
    let mut listed = Vec::new();
    let mut page = Page {
        after: None,
        limit: 1_000,
    };
    loop {
        let some = store.list(&Queue::Outbox, &waiting, page).await.unwrap();
        let Some(last) = some.last() else { break };
        page.after = Some(last.seq);
        listed.extend(some.iter().map(|entry| entry.id.as_str().to_owned()));
    }
    let expected: Vec<String> = (1..CROWD + 50).map(|n| format!("odd-{n}")).collect();
    assert_eq!(listed, expected);
    // One of them is discarded, the head is replayed.
    let one = |id: &str| Selection::One(MessageId::new(id).unwrap());
    let discarded = store.discard(&Queue::Outbox, &one("odd-7"), false).await;
    assert_eq!(discarded.unwrap().count, 1);
    let replayed = store.replay(&Queue::Outbox, &one("odd-0"), false).await;
    assert_eq!(replayed.unwrap().count, 1);

    let came = settle_all(&owner, &store).await;
    let expected: Vec<String> = (0..CROWD + 50)
        .filter(|n| *n != 7)
        .map(|n| format!("odd-{n}"))
        .collect();
    assert_eq!(came, expected);
    let parked = "select sum(cardinality(parked_keys))::bigint from {s}.cursor";
    assert_eq!(count(&schema, parked).await, 0);
    let done = "select count(*) from {s}.outbox where state = 'done'";
    let all = i64::try_from(CROWD + 50 + 400 - 1).unwrap();
    assert_eq!(count(&schema, done).await, all);
}

/// Six hundred messages of one key, and those of them that somebody has at hand.
async fn at_hand(owner: &Owner) -> Vec<Pending> {
    let odd: Vec<Draft> = (0..600)
        .map(|n| Draft::new("t", "x").id(format!("odd-{n}")).key("odd"))
        .collect();
    enqueue(&owner.store, &odd).await;
    let rows = owner.fetch(10).await.pending;
    assert_eq!(rows.len(), 10);
    rows
}

/// A fetch that names the key as full, and nothing as held.
fn late(owner: &Owner) -> FetchRequest {
    let mut request = owner.request(100);
    request.partitions[0].full = vec![OrderingKey::new("odd").unwrap()];
    request
}

/// Settles what is released, until there is nothing more, and returns which of the key came.
async fn rest(owner: &Owner) -> Vec<String> {
    let mut came = Vec::new();
    loop {
        let mut request = owner.request(100);
        request.partitions[0].sweep = true;
        let fetched = owner.store.fetch(&request).await.unwrap();
        if fetched.pending.is_empty() && fetched.released.is_empty() {
            return came;
        }
        let ids = ids(&fetched).into_iter();
        came.extend(ids.filter(|id| id.starts_with("odd")));
        owner.settle(&fetched.pending, &DONE).await;
    }
}

/// All but those that were at hand.
fn others_of_the_key() -> Vec<String> {
    (10..600).map(|n| format!("odd-{n}")).collect()
}

/// Settles what is at hand, one of it as known to the broker, so that no stretch takes it.
fn settling_apart(owner: &Owner, rows: &[Pending]) -> JoinHandle<Result<Vec<Settled>>> {
    let known = Change::Verdict(Verdict::Done { duplicate: true });
    let mut settlements: Vec<_> = rows.iter().map(|row| owner.settlement(row, DONE)).collect();
    settlements[0].change = known;
    let store = Arc::clone(&owner.store);
    tokio::spawn(async move { store.settle(&settlements).await })
}

/// A fetch that took effect long after its caller gave it up knows nothing of what is at hand since: it parks
/// a key with messages that are being published. What is settled of them is done, and does not come again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_hand_is_done_although_a_late_fetch_parked_it() {
    // With others behind it the cursor goes past the crowd.
    for others in [0_u8, 20] {
        let schema = Schema::new();
        let store = schema.migrated(1).await;
        let owner = Owner::new(&store).await;
        let at_hand = at_hand(&owner).await;
        enqueue(&store, &drafts("other", usize::from(others))).await;
        assert!(store.fetch(&late(&owner)).await.unwrap().pending.is_empty());
        let parked = "select coalesce(sum(cardinality(parked_keys)), 0)::bigint from {s}.cursor";
        assert_eq!(count(&schema, parked).await, 1);
        for half in at_hand.chunks(5) {
            assert_eq!(owner.settle(half, &DONE).await, [Settled::Applied; 5]);
        }
        // A reply that was lost: settled again.
        assert_eq!(owner.settle(&at_hand, &DONE).await, [Settled::Applied; 10]);
        let stats = store.stats(&Queue::Outbox).await.unwrap();
        assert_eq!((stats.pending, stats.waiting), (u64::from(others), 590));
        assert!(rest(&owner).await == others_of_the_key(), "each once");
        assert_eq!(done(&schema).await, 600 + i64::from(others));
    }
}

/// The same fetch gets the cursor while the settlement, which has read the messages, waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_waits_learns_what_was_parked() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let at_hand = at_hand(&owner).await;
    let mut stopper = connection().await;
    let hold = format!("begin; select from \"{}\".cursor for update", schema.0);
    run(&mut stopper, hold).await;
    let parking = {
        let (store, late) = (Arc::clone(&store), late(&owner));
        tokio::spawn(async move { store.fetch(&late).await })
    };
    until_locked_out(&schema, 1, &parking).await;
    let settling = settling_apart(&owner, &at_hand);
    until_locked_out(&schema, 2, &settling).await;
    run(&mut stopper, "rollback").await;
    assert!(!parking.await.unwrap().unwrap().aside.is_empty());
    assert_eq!(settling.await.unwrap().unwrap(), [Settled::Applied; 10]);
    assert!(rest(&owner).await == others_of_the_key(), "each once");
    assert_eq!(done(&schema).await, 600);
}

/// What is parked leaves the log while the settlement, which has read it as logged, waits for the cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_waits_learns_what_was_released() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    let at_hand = at_hand(&owner).await;
    store.fetch(&late(&owner)).await.unwrap();
    let mut stopper = connection().await;
    let hold = format!(
        "begin; select from \"{}\".message where id = 'odd-20' for update",
        schema.0
    );
    run(&mut stopper, hold).await;
    let releasing = {
        let (store, mut request) = (Arc::clone(&store), owner.request(0));
        request.partitions[0].sweep = true;
        tokio::spawn(async move { store.fetch(&request).await })
    };
    until_locked_out(&schema, 1, &releasing).await;
    let settling = settling_apart(&owner, &at_hand);
    until_locked_out(&schema, 2, &settling).await;
    run(&mut stopper, "rollback").await;
    releasing.await.unwrap().unwrap();
    assert_eq!(settling.await.unwrap().unwrap(), [Settled::Applied; 10]);
    assert!(rest(&owner).await == others_of_the_key(), "each once");
    assert_eq!(done(&schema).await, 600);
}
