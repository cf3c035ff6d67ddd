//! The messages that cases publish.

use std::fmt;

use bytes::Bytes;
use iobox_core::message::{Headers, Message, MessageId, OrderingKey, Origin, Topic};
use uuid::Uuid;

/// The topic of every message that a case does not say more about.
pub const TOPIC: &str = "orders.created";

/// The origin of every message that a case does not say more about.
pub const ORIGIN: Origin = Origin::new(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));

/// An origin that is not [`ORIGIN`].
#[must_use]
pub const fn other_origin() -> Origin {
    Origin::new(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002))
}

/// The topic with this text.
///
/// # Panics
/// When the text is no topic.
#[must_use]
pub fn topic(text: &str) -> Topic {
    Topic::new(text).expect("the suite writes valid topics")
}

/// A message of these parts.
///
/// # Panics
/// When a part breaks a bound of core.
#[must_use]
pub fn message(
    origin: Origin,
    id: &str,
    topic_text: &str,
    key: Option<&str>,
    headers: &[(&str, &str)],
    payload: impl Into<Bytes>,
) -> Message {
    let pairs = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Message::new(
        origin,
        MessageId::new(id).expect("the suite writes valid ids"),
        topic(topic_text),
        key.map(|key| OrderingKey::new(key).expect("the suite writes valid keys")),
        Headers::from_pairs(pairs).expect("the suite writes valid headers"),
        payload.into(),
    )
}

/// A message without a key, with its label as id and as payload.
#[must_use]
pub fn labelled(label: impl fmt::Display) -> Message {
    let label = label.to_string();
    message(ORIGIN, &label, TOPIC, None, &[], label.clone())
}

/// A message with a key, with its label as id and as payload.
#[must_use]
pub fn keyed(key: &str, label: impl fmt::Display) -> Message {
    let label = label.to_string();
    message(ORIGIN, &label, TOPIC, Some(key), &[], label.clone())
}

/// A message with this payload.
#[must_use]
pub fn payload(id: &str, payload: impl Into<Bytes>) -> Message {
    message(ORIGIN, id, TOPIC, None, &[], payload)
}

/// A message with these headers.
#[must_use]
pub fn with_headers(id: &str, headers: &[(&str, &str)]) -> Message {
    message(ORIGIN, id, TOPIC, None, headers, id.to_owned())
}

/// Messages labelled `<stem>-0` and so on, each with a key of its own.
#[must_use]
pub fn batch_of(stem: &str, count: usize) -> Vec<Message> {
    (0..count)
        .map(|n| keyed(&format!("key-{n}"), format!("{stem}-{n}")))
        .collect()
}
