//! Targets of core: the parts of a message, names, patterns, stored headers.

use iobox::{
    handler,
    inbox::{HandlerName, SourceName, TopicPattern},
    message::{Draft, Headers, Limits, MessageId, OrderingKey, Origin, RandomIds, Topic},
    partition::Partitions,
    source::Position,
};
use iobox_testkit::hostile;

use super::{Target, bytes_of, shown};

/// Ids, keys and positions: taken as they are or refused, and both by the same rules.
pub(super) const TEXT: Target = Target {
    name: "text",
    seeds: || bytes_of([hostile::texts(), hostile::positions()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let (id, key) = (MessageId::new(text), OrderingKey::new(text));
        assert_eq!(id.is_ok(), key.is_ok());
        for error in [id.as_ref().err(), key.as_ref().err()]
            .into_iter()
            .flatten()
        {
            shown(error);
        }
        if let Ok(id) = id {
            assert_eq!(id.as_str(), text);
            assert!(
                Position::new(text).is_ok(),
                "a position may be longer, no more"
            );
            for count in [1, 16, 256] {
                let partitions = Partitions::new(count).expect("a power of two");
                assert!(u16::from(partitions.of(text).number()) < count);
            }
        }
    },
};

/// Topics: never empty tokens, wildcards, or what is kept for brokers.
pub(super) const TOPIC: Target = Target {
    name: "topic",
    seeds: || bytes_of([hostile::topics()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match Topic::new(text) {
            Err(error) => shown(&error),
            Ok(topic) => {
                assert_eq!(topic.as_str(), text);
                assert!(
                    text.bytes()
                        .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
                );
                assert!(text.split('.').all(|token| !token.is_empty()));
                assert!(!text.starts_with('$'));
            }
        }
    },
};

/// Patterns: what is taken matches some topic, and matching ends.
pub(super) const PATTERN: Target = Target {
    name: "pattern",
    seeds: || {
        let pairs = bytes_of([hostile::patterns()]).into_iter();
        pairs
            .map(|pattern| [pattern.as_slice(), b"\na.b.c"].concat())
            .collect()
    },
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let (pattern, topic) = text.split_once('\n').unwrap_or((text, "a"));
        match TopicPattern::new(pattern) {
            Err(error) => shown(&error),
            Ok(parsed) => {
                let own = pattern.split('.').map(|token| match token {
                    "*" | ">" => "x",
                    token => token,
                });
                let own = Topic::new(own.collect::<Vec<_>>().join(".")).expect("a topic");
                assert!(parsed.matches(&own), "{pattern:?} matches nothing");
                if let Ok(topic) = Topic::new(topic) {
                    let _ = parsed.matches(&topic);
                }
            }
        }
    },
};

/// Names of handlers and sources.
pub(super) const NAME: Target = Target {
    name: "name",
    seeds: || bytes_of([hostile::names()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let (handler, source) = (HandlerName::new(text), SourceName::new(text));
        assert_eq!(handler.is_ok(), source.is_ok());
        match handler {
            Err(error) => shown(&error),
            Ok(name) => assert_eq!(name.as_str(), text),
        }
    },
};

/// Headers: lines of `name=value`; what is taken comes back from JSON as it is.
pub(super) const HEADERS: Target = Target {
    name: "headers",
    seeds: || {
        let lines = hostile::headers().into_iter().map(|entry| {
            let lines = entry
                .input
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"));
            lines.collect::<String>().into_bytes()
        });
        lines.filter(|bytes| bytes.len() <= 2_048).collect()
    },
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let pairs = text.split('\n').filter(|line| !line.is_empty());
        let pairs = pairs.map(|line| line.split_once('=').unwrap_or((line, "")));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        match Headers::from_pairs(pairs.collect()) {
            Err(error) => shown(&error),
            Ok(headers) => {
                let again = Headers::from_json(&headers.to_json());
                assert_eq!(again.ok().as_ref(), Some(&headers));
            }
        }
    },
};

/// Stored headers, as a store reads them back: what is taken is within every bound.
pub(super) const STORED_HEADERS: Target = Target {
    name: "stored_headers",
    seeds: || {
        let given = hostile::headers().into_iter();
        let given = given.filter_map(|entry| Headers::from_pairs(entry.input).ok());
        let mut seeds: Vec<Vec<u8>> = given
            .map(|headers| headers.to_json().into_bytes())
            .collect();
        seeds.retain(|bytes| bytes.len() <= 2_048);
        seeds.extend(bytes_of([hostile::stored_headers()]));
        seeds
    },
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match Headers::from_json(text) {
            Err(error) => shown(&error),
            Ok(headers) => {
                let pairs = headers
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()));
                assert!(Headers::from_pairs(pairs.collect()).is_ok());
            }
        }
    },
};

/// A whole draft: the first byte says which part the rest is.
pub(super) const DRAFT: Target = Target {
    name: "draft",
    seeds: || {
        let texts = bytes_of([hostile::texts(), hostile::topics()]);
        let parts = texts.iter().zip((0_u8..5).cycle());
        parts
            .map(|(text, part)| [&[part], text.as_slice()].concat())
            .collect()
    },
    run: |bytes| {
        let Some((part, rest)) = bytes.split_first() else {
            return;
        };
        let text = String::from_utf8_lossy(rest).into_owned();
        let draft = match part % 5 {
            0 => Draft::new("t", rest.to_vec()),
            1 => Draft::new(text, ""),
            2 => Draft::new("t", "").id(text),
            3 => Draft::new("t", "").key(text),
            _ => Draft::new("t", "").header("h", text),
        };
        match draft.seal(Origin::FOREIGN, Limits::default(), &RandomIds) {
            Err(error) => shown(&error),
            Ok(sealed) => assert!(sealed.message.size() >= sealed.message.payload().len()),
        }
    },
};

/// A payload that a handler reads as JSON: the error names the place and repeats nothing.
pub(super) const JSON_PAYLOAD: Target = Target {
    name: "json_payload",
    seeds: || {
        let payloads = hostile::payloads().into_iter().map(|entry| entry.input);
        payloads.filter(|bytes| bytes.len() <= 2_048).collect()
    },
    run: |bytes| {
        let draft = Draft::new("t", bytes.to_vec());
        let Ok(sealed) = draft.seal(Origin::FOREIGN, Limits::default(), &RandomIds) else {
            return;
        };
        if let Err(error) = handler::read_json::<serde_json::Value>(&sealed.message) {
            let text = error.to_string();
            assert!(text.starts_with("reject: payload is "), "{text}");
            assert!(text.len() < 100, "{text}");
        }
    },
};
