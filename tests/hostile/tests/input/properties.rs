//! Properties of what turns one text into another: nothing is lost, and nothing that differs meets.

use std::{collections::BTreeMap, fmt::Write as _};

use iobox::{
    inbox::TopicPattern,
    message::{Headers, MessageId, OrderingKey, Origin, Topic},
    nats::wire,
    partition::Partitions,
    source::Position,
};
use iobox_hostile::settings;
use iobox_testkit::{broker::support::message, hostile};
use proptest::prelude::*;
use uuid::Uuid;

/// Topics: of the table, and drawn ones.
fn topics() -> impl Strategy<Value = Topic> {
    let known = prop::sample::select(hostile::taken(hostile::topics()));
    let token = "[!-)+\\--/:-=?-~&&[^.]]{1,10}";
    let drawn = prop::collection::vec(token, 1..8).prop_map(|tokens| tokens.join("."));
    prop_oneof![known, drawn].prop_filter_map("a topic", |text| Topic::new(text).ok())
}

/// Prefixes of subjects: of the table, and short topics.
fn prefixes() -> impl Strategy<Value = String> {
    let known = prop::sample::select(hostile::taken(settings::nats_prefixes()));
    prop_oneof![known, "[a-z$_=%-]{1,6}(\\.[a-z]{1,6}){0,3}"]
        .prop_filter("a prefix", |text| settings::nats_prefix(text).is_ok())
}

/// Ids and keys: of the table, and any other text that is one.
fn texts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(hostile::taken(hostile::texts()));
    prop_oneof![known, any::<String>(), "[%/ a-zA-Z0-9]{1,12}"]
        .prop_filter("an id", |text| MessageId::new(text).is_ok())
}

/// Headers with names and values of every kind that is taken.
fn headers() -> impl Strategy<Value = Headers> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}";
    let value = prop_oneof![any::<String>(), "[ -~]{0,40}", "[\\\\\"\\[\\]{},:]{0,10}"];
    prop::collection::vec((name, value), 0..8)
        .prop_filter_map("headers", |pairs| Headers::from_pairs(pairs).ok())
}

proptest! {
    #[test]
    fn two_topics_never_share_a_subject(prefix in prefixes(), one in topics(), other in topics()) {
        let prefix = settings::nats_prefix(&prefix).expect("a prefix");
        let (first, second) = (prefix.subject_of(&one), prefix.subject_of(&other));
        prop_assert_eq!(one == other, first == second);
        prop_assert_eq!(prefix.topic_of(&first), Some(one.as_str()));
    }

    #[test]
    fn an_encoded_text_comes_back_and_no_two_meet(one in texts(), other in texts()) {
        let (first, second) = (wire::encode(&one), wire::encode(&other));
        prop_assert_eq!(one == other, first == second);
        prop_assert!(first.bytes().all(|b| b.is_ascii_graphic()));
        let decoded = wire::decode(&first);
        prop_assert_eq!(decoded.as_deref(), Some(one.as_str()));
    }

    #[test]
    fn two_messages_never_share_an_id_on_the_wire(
        first in (any::<u128>(), texts()),
        second in (any::<u128>(), texts()),
        same in any::<bool>(),
    ) {
        let second = if same { (first.0, second.1) } else { second };
        let id = |(origin, id): &(u128, String)| {
            message(Origin::new(Uuid::from_u128(*origin)), id, "t", None, &[], "").wire_id()
        };
        prop_assert_eq!(first == second, id(&first) == id(&second));
    }

    #[test]
    fn headers_come_back_from_json(headers in headers()) {
        let json = headers.to_json();
        let again = Headers::from_json(&json).ok();
        prop_assert_eq!(again.as_ref(), Some(&headers));
        // As a reader in another language sees them: an array of pairs, in order.
        let pairs: Vec<(String, String)> = serde_json::from_str(&json).expect("pairs");
        let own = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        prop_assert_eq!(pairs, own.collect::<Vec<_>>());
    }

    #[test]
    fn headers_that_were_an_object_lose_none(headers in headers()) {
        let object: BTreeMap<&str, &str> = headers.iter().collect();
        let json = serde_json::to_string(&object).expect("JSON");
        let again = Headers::from_json(&json).expect("an object of strings");
        prop_assert_eq!(again.len(), headers.len());
        for (name, value) in headers.iter() {
            prop_assert_eq!(again.get(name), Some(value));
        }
    }

    #[test]
    fn stored_headers_of_any_text_are_refused_or_within_bounds(text in any::<String>()) {
        if let Ok(headers) = Headers::from_json(&text) {
            prop_assert!(headers.len() <= 64 && headers.size() <= 16 * 1024);
        }
    }

    #[test]
    fn a_pattern_takes_its_own_topics_and_no_shorter_ones(topic in topics(), at in any::<prop::sample::Index>()) {
        let tokens: Vec<&str> = topic.as_str().split('.').collect();
        let at = at.index(tokens.len());
        let mut starred = tokens.clone();
        starred[at] = "*";
        let starred = TopicPattern::new(starred.join(".")).expect("a pattern");
        prop_assert!(starred.matches(&topic));
        let mut rest = tokens[..at].to_vec();
        rest.push(">");
        let rest = TopicPattern::new(rest.join(".")).expect("a pattern");
        prop_assert!(rest.matches(&topic));
        if at > 0 {
            let shorter = Topic::new(tokens[..at].join(".")).expect("a topic");
            prop_assert!(!rest.matches(&shorter));
            prop_assert!(!starred.matches(&shorter));
        }
    }

    #[test]
    fn a_partition_is_that_of_the_text_alone(text in texts(), bits in 0_u32..=8) {
        let partitions = Partitions::new(1 << bits).expect("a count");
        let number = partitions.of(&text).number();
        prop_assert!(u16::from(number) < partitions.count());
        let whole = Partitions::new(256).expect("a count").of(&text).number();
        prop_assert_eq!(u16::from(number), u16::from(whole) % partitions.count());
    }

    #[test]
    fn what_is_taken_as_an_id_is_taken_as_key_and_position(text in any::<String>()) {
        let id = MessageId::new(&text).is_ok();
        prop_assert_eq!(id, OrderingKey::new(&text).is_ok());
        prop_assert!(!id || Position::new(&text).is_ok());
    }

    #[test]
    fn debug_of_an_id_moves_no_cursor(text in texts()) {
        let mut shown = String::new();
        write!(shown, "{:?}", MessageId::new(&text).expect("an id")).expect("a text");
        prop_assert!(hostile::is_plain(&shown), "{shown}");
    }
}
