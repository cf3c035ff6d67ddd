//! Targets of the publisher to NATS: servers, subjects, the percent-encoding of headers.

use iobox::{message::Topic, nats::wire};
use iobox_testkit::hostile;

use super::{Target, bytes_of, shown};
use crate::settings;

/// The list of servers: credentials are in no text.
pub(super) const SERVERS: Target = Target {
    name: "nats_servers",
    seeds: || bytes_of([settings::nats_urls()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match settings::nats_servers(text) {
            Err(error) => shown(&error),
            // Whatever stands before an @ is a credential.
            Ok(config) => assert!(!format!("{config:?}").contains('@')),
        }
    },
};

/// Prefixes and topics, separated by a line end: a subject leads back to its topic.
pub(super) const SUBJECT: Target = Target {
    name: "nats_subject",
    seeds: || {
        let prefixes = bytes_of([settings::nats_prefixes()]).into_iter();
        prefixes
            .map(|prefix| [prefix.as_slice(), b"\norders.created"].concat())
            .collect()
    },
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let (prefix, topic) = text.split_once('\n').unwrap_or(("iobox", text));
        let (prefix, topic) = (settings::nats_prefix(prefix), Topic::new(topic));
        if let Err(error) = &prefix {
            shown(error);
        }
        if let (Ok(prefix), Ok(topic)) = (prefix, topic) {
            let subject = prefix.subject_of(&topic);
            assert_eq!(prefix.topic_of(&subject), Some(topic.as_str()));
            assert!(subject.bytes().all(|b| b.is_ascii_graphic()));
        }
    },
};

/// Percent-encoding, both ways.
pub(super) const PERCENT: Target = Target {
    name: "nats_percent",
    seeds: || bytes_of([hostile::texts()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let encoded = wire::encode(text);
        assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(wire::decode(&encoded).as_deref(), Some(text));
        if let Some(decoded) = wire::decode(text) {
            // Somebody else may have encoded more than we would.
            let again = wire::encode(&decoded);
            assert_eq!(wire::decode(&again), Some(decoded.clone()));
        }
    },
};
