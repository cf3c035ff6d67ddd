//! A crowd: a key with thousands of messages that wait.

use iobox_core::{
    message::{Draft, MessageId},
    queue::Queue,
    store::{Admin, Filter, Page, Selection, Settled, State},
};

use crate::{
    count, dead, drafts, ids, settle_all,
    support::{DONE, Owner, Schema, enqueue},
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
