//! Ids, keys and topics: they arrive as they are, and what differs stays apart.

use iobox_core::message::Message;

use super::{
    Harness,
    support::{
        ORIGIN, TOPIC, assert_holds, labelled, labels, message, other_origin, publish_all, topic,
    },
};
use crate::hostile;

/// Text that is hard on parsers, quoting and case folding; all of it is legal in ids and keys.
const HARD: [&str; 16] = [
    "a",
    "A",
    " a",
    "a ",
    "with space",
    "a/b",
    "../..",
    "a:b{c}",
    "*",
    "$",
    "-1",
    "\"quoted\" 'twice' \\",
    "é",
    "e\u{301}",
    "注文-123 🚚",
    "%2e.%00",
];

async fn round_trip<H: Harness>(messages: &[Message]) {
    let harness = H::fresh().await;
    for one in messages {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, messages).await;
}

/// Ids of any script, with blanks and punctuation, arrive and stay apart.
pub async fn ids_of_any_script_arrive<H: Harness>() {
    let messages = HARD.map(|id| message(ORIGIN, id, TOPIC, None, &[], "payload"));
    round_trip::<H>(&messages).await;
}

/// Keys of any script, with blanks and punctuation, arrive and stay apart.
pub async fn keys_of_any_script_arrive<H: Harness>() {
    let messages = HARD.map(|key| message(ORIGIN, key, TOPIC, Some(key), &[], "payload"));
    round_trip::<H>(&messages).await;
}

/// Whatever core takes arrives as it is: the hostile ids, keys, topics, headers and payloads.
pub async fn hostile_messages_arrive<H: Harness>() {
    let harness = H::fresh().await;
    let messages = hostile::messages(ORIGIN);
    for batch in messages.chunks(16) {
        publish_all(harness.publisher().as_ref(), batch).await;
    }
    assert_holds(&harness, &messages).await;
}

/// A message without a key arrives without a key, not with an empty one or its id.
pub async fn no_key_arrives_as_none<H: Harness>() {
    round_trip::<H>(&[labelled("a")]).await;
}

/// The longest id, key and topic arrive, in one byte a character and in four.
pub async fn the_longest_texts_arrive<H: Harness>() {
    let (narrow, wide) = ("x".repeat(255), "🚚".repeat(63));
    round_trip::<H>(&[
        message(ORIGIN, &narrow, &narrow, Some(&narrow), &[], "1"),
        message(ORIGIN, &wide, &narrow, Some(&wide), &[], "2"),
    ])
    .await;
}

/// Every character that a topic may have arrives.
pub async fn every_legal_topic_arrives<H: Harness>() {
    let legal = ('!'..='~').filter(|c| !matches!(c, '*' | '>' | '.' | '$'));
    let mut topics: Vec<String> = legal.clone().map(|c| format!("{c}")).collect();
    topics.push(legal.collect());
    topics.push("a$b.$c".to_owned());
    topics.push(["t"; 16].join("."));
    let messages: Vec<Message> = topics
        .iter()
        .enumerate()
        .map(|(n, topic)| message(ORIGIN, &n.to_string(), topic, None, &[], "payload"))
        .collect();
    round_trip::<H>(&messages).await;
}

/// Topics that look alike stay apart.
pub async fn topics_that_look_alike_stay_apart<H: Harness>() {
    let topics = [
        "a.b", "a_b", "a-b", "A.b", "a.B", "ab", "a%2eb", "a:b", "a.b.c", "a=2Eb",
    ];
    for one in topics {
        assert_eq!(topic(one).as_str(), one);
    }
    let messages = topics.map(|topic| message(ORIGIN, topic, topic, None, &[], topic));
    round_trip::<H>(&messages).await;
}

/// One id in two origins is two messages.
pub async fn one_id_in_two_origins_is_two_messages<H: Harness>() {
    let messages = [ORIGIN, other_origin()]
        .map(|origin| message(origin, "order-1", TOPIC, None, &[], origin.to_string()));
    round_trip::<H>(&messages).await;
}

/// One payload under two ids is two messages.
pub async fn one_payload_under_two_ids_is_two_messages<H: Harness>() {
    let harness = H::fresh().await;
    for id in ["a", "b"] {
        let one = message(ORIGIN, id, TOPIC, Some("k"), &[], "same");
        publish_all(harness.publisher().as_ref(), &[one]).await;
    }
    assert_eq!(labels(&harness).await, ["same", "same"]);
}
