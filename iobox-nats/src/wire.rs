//! The wire: the headers by which a message travels.
//!
//! | header | value |
//! |---|---|
//! | [`MESSAGE_ID`] | the wire id, `<origin>/<id>`; JetStream keeps one copy of it within the stream's duplicate window |
//! | [`ID`] | the same, so that a reader can tell messages of iobox from others |
//! | [`KEY`] | the ordering key, if there is one |
//! | [`ENCODED`] | the names of those headers of the application whose values are percent-encoded, separated by commas |
//!
//! All others are the application's own, by the names that it gave. Ids and keys are always
//! percent-encoded ([`encode`]): what is printable ASCII other than `%` stands for itself. A value of
//! an application's header is encoded only if it starts or ends with a blank, which readers cut off.

use std::borrow::Cow;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use iobox_core::message::Message;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// JetStream's own header, by which it knows a message again.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The wire id.
pub const ID: &str = "iobox-id";
/// The ordering key.
pub const KEY: &str = "iobox-key";
/// Which headers are percent-encoded.
pub const ENCODED: &str = "iobox-encoded";

/// What is encoded: control characters, the blank, `%`, and all beyond ASCII.
const SET: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Prefixes that an application's headers must not have, in lower case: the server obeys the first.
const RESERVED: [&str; 2] = ["nats-", "iobox-"];

/// Encodes text as printable ASCII without blanks; no two texts give the same.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, SET).into()
}

/// Reads what [`encode`] wrote; none if it is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// The headers of a message on the wire, and the bytes that they take there.
///
/// The error says which header cannot be sent, never its value.
pub(crate) fn headers(message: &Message) -> Result<(HeaderMap, usize), String> {
    let id = format!("{}/{}", message.origin(), encode(message.id().as_str()));
    let mut headers = Encoder::new();
    headers.add(MESSAGE_ID, &id)?;
    headers.add(ID, &id)?;
    if let Some(key) = message.key() {
        headers.add(KEY, &encode(key.as_str()))?;
    }
    headers.add_all(message.headers().iter())?;
    Ok((headers.map, headers.bytes))
}

/// Builds headers by fallible constructors alone: the others of async-nats panic.
struct Encoder {
    map: HeaderMap,
    bytes: usize,
}

impl Encoder {
    fn new() -> Self {
        Self {
            map: HeaderMap::new(),
            bytes: b"NATS/1.0\r\n\r\n".len(),
        }
    }

    /// Adds the headers of an application.
    fn add_all<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), String> {
        let mut encoded = String::new();
        for (name, value) in pairs {
            let lower = name.to_ascii_lowercase();
            if RESERVED.iter().any(|prefix| lower.starts_with(prefix)) {
                return Err(format!("header {name:?} has a reserved prefix"));
            }
            if value.trim() == value {
                self.add(name, value)?;
            } else {
                self.add(name, &encode(value))?;
                if !encoded.is_empty() {
                    encoded.push(',');
                }
                encoded.push_str(name);
            }
        }
        if encoded.is_empty() {
            Ok(())
        } else {
            self.add(ENCODED, &encoded)
        }
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let refused = |what: &str| format!("header {name:?} has a {what} that NATS cannot carry");
        if name.is_empty() {
            return Err(refused("name"));
        }
        let key: HeaderName = name.parse().map_err(|_| refused("name"))?;
        let content: HeaderValue = value.parse().map_err(|_| refused("value"))?;
        self.bytes += name.len() + value.len() + b": \r\n".len();
        self.map.insert(key, content);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use iobox_core::message::{Headers, MessageId, OrderingKey, Origin, Topic};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn message(id: &str, key: Option<&str>, headers: &[(&str, &str)]) -> Message {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Message::new(
            Origin::new(Uuid::nil()),
            MessageId::new(id).expect("an id"),
            Topic::new("orders.created").expect("a topic"),
            key.map(OrderingKey::stored),
            Headers::from_pairs(headers).expect("headers"),
            "payload".into(),
        )
    }

    /// Headers by name, as a reader sees them.
    fn read(message: &Message) -> Vec<(String, String)> {
        let (map, _) = headers(message).expect("headers");
        let mut pairs: Vec<_> = map
            .iter()
            .map(|(name, values)| (name.to_string(), values[0].to_string()))
            .collect();
        pairs.sort();
        pairs
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    const NIL: &str = "00000000-0000-0000-0000-000000000000";

    #[test]
    fn a_message_travels_by_these_headers() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let given = [
            ("content-type", "application/json"),
            ("traceparent", traceparent),
        ];
        let id = format!("{NIL}/order%201");
        assert_eq!(
            read(&message("order 1", Some("k\u{e4}"), &given)),
            [
                pair(MESSAGE_ID, &id),
                pair("content-type", "application/json"),
                pair(ID, &id),
                pair(KEY, "k%C3%A4"),
                pair("traceparent", traceparent),
            ]
        );
    }

    #[test]
    fn blanks_at_an_end_are_encoded_and_told() {
        let given = [
            ("plain", "a b"),
            ("x", " a"),
            ("y", "b\u{a0}"),
            ("z", "100%"),
        ];
        let pairs = read(&message("1", None, &given));
        assert!(pairs.contains(&pair("plain", "a b")));
        assert!(pairs.contains(&pair("x", "%20a")));
        assert!(pairs.contains(&pair("y", "b%C2%A0")));
        assert!(pairs.contains(&pair("z", "100%")));
        assert!(pairs.contains(&pair(ENCODED, "x,y")));
    }

    #[test]
    fn what_the_server_would_obey_is_refused() {
        for name in [
            "Nats-Rollup",
            "NATS-MSG-ID",
            "nats-ttl",
            "iobox-id",
            "Iobox-Key",
        ] {
            let refused = Encoder::new().add_all([(name, "all")].into_iter());
            assert!(refused.is_err(), "{name}");
        }
    }

    #[test]
    fn what_would_break_the_protocol_is_refused_and_never_panics() {
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a:", "v"),
            ("é", "v"),
            ("a\r\n", "v"),
            ("a", "x\r\ncanary: 1"),
            ("a", "x\ncanary"),
        ] {
            let refused = Encoder::new().add_all([(name, value)].into_iter());
            let text = refused.expect_err(name);
            assert!(!text.contains("canary"), "{text}");
        }
        // A key that was stored by other means than an enqueue.
        let pairs = read(&message("1", Some("a\r\nNats-Rollup: all"), &[]));
        assert!(pairs.contains(&pair(KEY, "a%0D%0ANats-Rollup:%20all")));
    }

    proptest! {
        #[test]
        fn encoded_text_comes_back_and_is_plain(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
            let decoded = decode(&encoded).expect("UTF-8");
            prop_assert_eq!(decoded.as_ref(), text.as_str());
        }
    }
}
