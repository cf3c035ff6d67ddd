//! Targets of the publisher to Redis: the URL and the prefix.

use iobox_testkit::hostile;

use super::{Target, bytes_of, shown};
use crate::settings;

/// The URL: credentials are in no text.
pub(super) const URL: Target = Target {
    name: "redis_url",
    seeds: || bytes_of([settings::redis_urls()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match settings::redis_server(text) {
            Err(error) => shown(&error),
            Ok(config) => {
                // What stands behind the last @, or in the path of a socket, is an address.
                // A URL is read without the tabs and line ends in it.
                let text = text.replace(['\t', '\n', '\r'], "");
                let (before, address) = text.rsplit_once('@').unwrap_or((&text, ""));
                let is_socket = text.contains("unix://") || address.contains(hostile::SECRET);
                if before != text && !is_socket {
                    assert!(!format!("{config:?}").contains(hostile::SECRET));
                }
            }
        }
    },
};

/// The prefix of streams.
pub(super) const PREFIX: Target = Target {
    name: "redis_prefix",
    seeds: || bytes_of([settings::redis_prefixes()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match settings::redis_prefix(text) {
            Err(error) => shown(&error),
            Ok(_) => assert!(text.is_ascii() && (1..=64).contains(&text.len())),
        }
    },
};
