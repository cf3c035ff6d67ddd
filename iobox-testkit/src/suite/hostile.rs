//! Hostile input: what core takes comes back as it was, what it refuses leaves no trace.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use iobox_core::{
    Error,
    message::{Draft, Message, OrderingKey},
    queue::Queue,
    store::{Admin, Body, Filter, Pending, Selection, State},
};

use super::{
    Harness,
    support::{
        Instance, TOPIC, dead, done, enqueue, entries, entry, matching, partitions, plain, purge,
        retry, state, try_enqueue, unknown,
    },
};
use crate::{
    broker::{Stored, support::ORIGIN},
    hostile::{self, Entry},
};

/// Messages with the hostile ids, keys, topics, headers and payloads that core takes come back as they
/// were, and are found by their id and key alone.
pub async fn hostile_drafts_come_back<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let drafts = hostile::drafts();
    for some in drafts.chunks(20) {
        enqueue(&harness, some).await;
    }
    let one = Instance::owner(harness.store()).await;
    let rows = one.fetch().await.pending;
    assert_same(&hostile::messages(ORIGIN), rows.iter().map(message));
    let store = harness.store().as_ref();
    for row in &rows {
        let message = message(row);
        let found = entry(store, message.id()).await;
        let Some(Body::Message(whole)) = found.body else {
            panic!("{:?} cannot be read", message.id());
        };
        assert_eq!(whole.payload(), message.payload());
        let filter = Filter {
            key: message.key().cloned(),
            ..Filter::default()
        };
        let listed = matching(store, &filter).await;
        assert_eq!(listed.len(), 1, "{:?}", message.id());
        assert_eq!(listed[0].id, message.id().as_str());
        one.apply(row, done()).await;
    }
}

/// Keys that look alike are different keys: each has an order of its own, and none halts another.
pub async fn keys_that_look_alike_stay_apart<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let texts = hostile::taken(hostile::texts());
    let drafts: Vec<Draft> = texts.iter().map(|text| plain("x").key(text)).collect();
    enqueue(&harness, &drafts).await;
    let one = Instance::owner(harness.store()).await;
    let rows = one.fetch().await.pending;
    let keys: Vec<_> = rows.iter().filter_map(|row| row.key.clone()).collect();
    let expected: Result<Vec<_>, Error> = texts.iter().map(OrderingKey::new).collect();
    assert_eq!(Some(keys), expected.ok());
    one.apply(&rows[0], dead(true)).await;
    assert_eq!(one.fetch().await.pending.len(), texts.len() - 1);
}

/// Drafts with hostile parts that core refuses are refused in words that repeat nothing, and nothing is
/// written.
pub async fn hostile_drafts_are_refused<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let texts = hostile::texts();
    let key = |text: &String| plain("s3cr3t").key(text);
    let id = |text: &String| plain("s3cr3t").id(text);
    let topic = |text: &String| Draft::new(text.as_str(), "s3cr3t");
    let headers = |pairs: &Vec<(String, String)>| {
        let draft = Draft::new(TOPIC, "s3cr3t");
        let pairs = pairs.iter();
        pairs.fold(draft, |draft, (name, value)| draft.header(name, value))
    };
    refuse(&harness, "ordering key", &texts, key).await;
    refuse(&harness, "id", &texts, id).await;
    refuse(&harness, "topic", &hostile::topics(), topic).await;
    refuse(&harness, "header", &hostile::headers(), headers).await;
    assert!(entries(harness.store().as_ref()).await.is_empty());
}

/// Delays and times beyond every calendar are survived: what is to be tried again then is not due, what is
/// to be kept so long is kept, and a replay of a time that never was finds nothing.
pub async fn endless_times_are_survived<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], retry(Duration::MAX)).await;
    one.apply(&rows[1], unknown(Duration::MAX, false)).await;
    one.apply(&rows[2], done()).await;
    assert!(one.fetch().await.pending.is_empty());
    assert_eq!(purge(store, Duration::MAX, 100).await, 0);
    let year_9999 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let endless = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 55));
    for since in [Some(year_9999), endless].into_iter().flatten() {
        let since = Selection::published_since(since);
        let replayed = store.replay(&Queue::Outbox, &since, true).await;
        assert_eq!(replayed.expect("an answer").count, 0);
    }
    let before = Selection::published_since(SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40));
    let replayed = store.replay(&Queue::Outbox, &before, true).await;
    assert_eq!(replayed.expect("an answer").count, 1);
    assert_eq!(state(store, &ids[2]).await, State::Done);
}

/// Enqueues a draft of each entry that is to be refused, and judges what the store says.
async fn refuse<H: Harness, T: Clone>(
    harness: &H,
    field: &str,
    entries: &[Entry<T>],
    draft: impl Fn(&T) -> Draft,
) {
    let mut judged = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_taken()) {
        let said = try_enqueue(harness, &[draft(&entry.input)]).await;
        let (name, verdict) = (entry.name.clone(), entry.verdict);
        let input = std::sync::Mutex::new(Some(said));
        judged.push(Entry {
            name,
            input,
            verdict,
        });
    }
    hostile::judge(field, &judged, |said| {
        let said = said.lock().map_or(None, |mut said| said.take());
        said.expect("an answer").map(|_| ())
    });
}

fn message(row: &Pending) -> &Message {
    match &row.body {
        Body::Message(message) => message,
        Body::Corrupt(reason) => panic!("{:?} is corrupt: {reason}", row.seq),
    }
}

/// Asserts that the messages are the same but for their origin, in any order.
fn assert_same<'a>(expected: &[Message], found: impl Iterator<Item = &'a Message>) {
    let by_id = |messages: &mut dyn Iterator<Item = &Message>| -> BTreeMap<String, Stored> {
        let neutral = |message: &Message| Stored {
            origin: String::new(),
            ..Stored::of(message)
        };
        messages
            .map(neutral)
            .map(|one| (one.id.clone(), one))
            .collect()
    };
    let mut found: Vec<&Message> = found.collect();
    assert_eq!(found.len(), expected.len());
    let found = by_id(&mut found.drain(..));
    for (id, expected) in by_id(&mut expected.iter()) {
        let found = found.get(&id);
        assert!(
            found == Some(&expected),
            "{id:?}: {found:?} is not {expected:?}"
        );
    }
}
