//! Texts that could leave their place: prefixes, ids, keys, payloads.

use iobox_core::{
    message::{Draft, MessageId, OrderingKey},
    queue::Queue,
    store::{Admin, Body, Filter, Page},
};
use iobox_testkit::{
    hostile,
    suite::support::{Instance, done},
};

use super::fixture::{File, enqueue, migrated, open};

#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_that_is_allowed_works() {
    for prefix in hostile::taken(hostile::identifiers()) {
        let file = File::new();
        let store = open(file.config().table_prefix(&prefix));
        store.migrate().await.expect(&prefix);
        store.verify().await.expect(&prefix);
        enqueue(&store, vec![Draft::new("a", "1").key("k").id("i")]).await;
        let one = Instance::owner(&store).await;
        let row = one.one().await;
        one.apply(&row, done()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_come_back_as_they_were() {
    let (_file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let texts = [
        "'",
        "''",
        "\"",
        "`",
        ";",
        "--",
        "/*",
        "' OR 1=1 --",
        "?1",
        ":a",
        "@a",
        "$a",
        "%s",
        "{p}",
        "{now}",
        "\\",
        "NULL",
        "x'00'",
        "ü",
        "日本",
        "🦀",
        "e\u{301}",
        "\u{feff}a",
        "\u{202e}b",
    ];
    let drafts = texts
        .iter()
        .map(|text| Draft::new("t", *text).id(text).key(text).header("h", *text))
        .collect();
    enqueue(&store, drafts).await;
    let mut fetched = one.fetch().await.pending;
    fetched.sort_by_key(|row| row.seq);
    for (text, row) in texts.iter().zip(&fetched) {
        let Body::Message(message) = &row.body else {
            panic!("{text} is corrupt");
        };
        assert_eq!(message.id().as_str(), *text);
        assert_eq!(message.key().map(|key| key.as_str()), Some(*text));
        assert_eq!(message.headers().get("h"), Some(*text));
        assert_eq!(&message.payload()[..], text.as_bytes());
        let id = MessageId::new(text).expect("an id");
        let entry = store.get(&Queue::Outbox, &id).await.expect("an answer");
        assert_eq!(entry.expect("a row").id, *text);
        let filter = Filter {
            key: Some(OrderingKey::new(text).expect("a key")),
            ..Filter::default()
        };
        let listed = store.list(&Queue::Outbox, &filter, Page::default()).await;
        assert_eq!(listed.expect("a listing").len(), 1, "{text}");
    }
    assert_eq!(fetched.len(), texts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_any_bytes_come_back() {
    let (_file, store) = migrated().await;
    let one = Instance::owner(&store).await;
    let all: Vec<u8> = (0..=u8::MAX).collect();
    for payload in [Vec::new(), vec![0], all, vec![0xff; 256 * 1024]] {
        enqueue(&store, vec![Draft::new("t", payload.clone())]).await;
        let row = one.one().await;
        let Body::Message(message) = &row.body else {
            panic!("corrupt");
        };
        assert_eq!(message.payload()[..], payload[..]);
        one.apply(&row, done()).await;
    }
}
