//! The filter: which entries of the stream a source reads.

use async_nats::jetstream::stream::Config as StreamConfig;

use super::config::SourceConfig;
use crate::{
    error::Refusal,
    subject::{covers, overlap},
};

/// The first server that takes several subjects.
const SERVER_OF_SEVERAL: [u64; 2] = [2, 10];

/// The subjects that are read; none when all are.
#[derive(Debug, Clone)]
pub(super) struct Filter(Vec<String>);

impl Filter {
    pub(super) fn of(config: &SourceConfig) -> Self {
        let subjects = config
            .topics
            .iter()
            .map(|topic| topic.behind(&config.prefix));
        let subjects: Vec<String> = subjects.collect();
        if subjects.iter().any(|subject| subject == ">") {
            return Self(Vec::new());
        }
        Self(subjects)
    }

    pub(super) fn subjects(&self) -> &[String] {
        &self.0
    }

    /// What tells it from others: the same for the same subjects in any order, and in every version of
    /// the program, since positions hold it.
    pub(super) fn hash(&self) -> u64 {
        let mut subjects: Vec<&String> = self.0.iter().collect();
        subjects.sort();
        // FNV-1a. No subject has a blank, so that what stands between them is none of theirs.
        let bytes = subjects.iter().flat_map(|one| one.bytes().chain([b' ']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Whether it lets every entry of the stream through, so that a number that is missing is an
    /// entry that was removed.
    pub(super) fn is_total(&self, stream: &StreamConfig) -> bool {
        let lets_through = |narrow: &String| self.0.iter().any(|wide| covers(wide, narrow));
        // A mirror and a stream with sources take subjects that they do not name.
        let named = stream.mirror.is_none() && stream.sources.as_ref().is_none_or(Vec::is_empty);
        self.0.is_empty() || (named && stream.subjects.iter().all(lets_through))
    }

    /// Refuses a filter that the server does not know, or that lets nothing through.
    pub(super) fn check(&self, version: &[u64], stream: &StreamConfig) -> Result<(), Refusal> {
        if self.0.len() > 1 && *version < SERVER_OF_SEVERAL[..] {
            return Err(Refusal::invalid(
                "the server takes several patterns of topics from version 2.10 on: update it, or set \
                 topics to one",
            ));
        }
        let foreign = stream.mirror.is_some() || stream.sources.is_some();
        let idle = self
            .0
            .iter()
            .find(|subject| !stream.subjects.iter().any(|one| overlap(one, subject)));
        match idle {
            Some(subject) if !foreign => Err(Refusal::invalid(format!(
                "stream {} has no subject that {subject} could match: set prefix and topics to what \
                 it takes",
                stream.name
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(prefix: &str, topics: &[&str]) -> Filter {
        let config = SourceConfig::builder("nats://localhost", "ORDERS", "billing");
        let config = config.prefix(prefix).topics(topics.iter().copied());
        Filter::of(&config.build().expect("a configuration"))
    }

    fn stream(subjects: &[&str]) -> StreamConfig {
        StreamConfig {
            name: String::from("ORDERS"),
            subjects: subjects.iter().map(|one| (*one).to_owned()).collect(),
            ..StreamConfig::default()
        }
    }

    #[test]
    fn a_filter_is_total_when_nothing_of_the_stream_is_left_out() {
        for (prefix, topics, subjects, total) in [
            ("", &[">"][..], &["a.>", "b"][..], true),
            ("a", &[">"], &["a.b", "a.>"], true),
            ("a", &[">"], &["a.>", "b"], false),
            ("a", &["b", "c"], &["a.b", "a.c"], true),
            ("a", &["b"], &["a.>"], false),
        ] {
            let filter = filter(prefix, topics);
            assert_eq!(filter.is_total(&stream(subjects)), total, "{filter:?}");
        }
        let mirror = StreamConfig {
            mirror: Some(Default::default()),
            ..stream(&[])
        };
        assert!(!filter("a", &[">"]).is_total(&mirror));
        assert!(filter("", &[">"]).is_total(&mirror));
    }

    #[test]
    fn a_filter_that_lets_nothing_through_is_refused() {
        let refused = filter("b", &[">"]).check(&[2, 9], &stream(&["a.>"]));
        assert!(refused.expect_err("idle").text.contains("b.>"));
        for subjects in [&["b.>"][..], &["*.c"], &[">"], &["a", "b.d"]] {
            let checked = filter("b", &[">"]).check(&[2, 9], &stream(subjects));
            assert!(checked.is_ok(), "{subjects:?}");
        }
        assert!(filter("", &[">"]).check(&[2, 9], &stream(&[])).is_ok());
    }

    #[test]
    fn a_hash_tells_which_entries_are_read() {
        let same = filter("shop", &["a.>", "b"]).hash();
        // Stored positions hold these.
        assert_eq!(same, 0x1352_1369_6b71_f45c);
        assert_eq!(filter("", &[">"]).hash(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(filter("", &["shop.b", "shop.a.>"]).hash(), same);
        for (prefix, topics) in [
            ("", &[">"][..]),
            ("shop", &[">"]),
            ("shop", &["a.>"]),
            ("shop", &["b"]),
            ("shop", &["a.>", "b", "c"]),
            ("store", &["a.>", "b"]),
        ] {
            assert_ne!(filter(prefix, topics).hash(), same, "{prefix} {topics:?}");
        }
    }

    #[test]
    fn several_patterns_need_a_newer_server() {
        let two = filter("a", &["b", "c"]);
        let old = two.check(&[2, 9, 10], &stream(&["a.>"]));
        assert!(old.expect_err("too old").text.contains("2.10"));
        assert!(two.check(&[2, 10, 0], &stream(&["a.>"])).is_ok());
    }
}
