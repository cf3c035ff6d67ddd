//! Messages made of everything hostile that core takes.

use iobox_core::message::{Draft, Headers, Limits, Message, Origin, RandomIds};

use super::{headers, payloads, taken, texts, topics};

/// Drafts with every id, key, topic, header and payload of the tables that is taken.
///
/// Each has an id of its own, and most share neither key nor topic.
#[must_use]
pub fn drafts() -> Vec<Draft> {
    let (texts, topics, payloads) = (taken(texts()), taken(topics()), taken(payloads()));
    let headers = taken(headers());
    let count = texts
        .len()
        .max(topics.len())
        .max(headers.len())
        .max(payloads.len());
    assert_eq!(count, texts.len(), "every message needs an id of its own");
    let draft = |n: usize| {
        let topic = topics[n % topics.len()].clone();
        let payload = payloads[n % payloads.len()].clone();
        let draft = Draft::new(topic, payload).id(&texts[n]).key(&texts[n]);
        let pairs = headers[n % headers.len()].iter();
        pairs.fold(draft, |draft, (name, value)| draft.header(name, value))
    };
    (0..count).map(draft).collect()
}

/// The same as messages of an outbox.
///
/// # Panics
/// When core refuses what a table says it takes.
#[must_use]
pub fn messages(origin: Origin) -> Vec<Message> {
    let seal = |draft: &Draft| draft.seal(origin, Limits::default(), &RandomIds);
    let sealed = drafts().iter().map(seal).collect::<Result<Vec<_>, _>>();
    let sealed = sealed.expect("the tables say that core takes it");
    sealed.into_iter().map(|one| one.message).collect()
}

/// The same with one topic, for streams that take no other.
///
/// # Panics
/// When the topic is none.
#[must_use]
pub fn messages_of(origin: Origin, topic: &str) -> Vec<Message> {
    let topic = iobox_core::message::Topic::new(topic).expect("a topic");
    let retopic = |one: &Message| {
        let headers: Headers = one.headers().clone();
        let key = one.key().cloned();
        Message::new(
            origin,
            one.id().clone(),
            topic.clone(),
            key,
            headers,
            one.payload().clone(),
        )
    };
    messages(origin).iter().map(retopic).collect()
}
