//! The probe: what is asked of a stream, and what to change when it is refused.

use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, Info, RetentionPolicy, StorageType,
};
use iobox_core::publisher::Durability;

use crate::{config::Config, error::Refusal, subject::covers};

/// The oldest server that this crate is tested with.
const SERVER_MIN: [u64; 2] = [2, 9];
/// The first server that does not lose whole streams when it is killed at a bad moment.
const SERVER_SAFE: [u64; 3] = [2, 10, 23];

/// What a publisher knows of its stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    name: String,
    subjects: Vec<String>,
    /// When it was made, in nanoseconds since 1970: another stream of the same name has another.
    pub(crate) created: i128,
}

impl Stream {
    pub(crate) fn of(info: &Info) -> Self {
        Self {
            name: info.config.name.clone(),
            subjects: info.config.subjects.clone(),
            created: info.created.unix_timestamp_nanos(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it takes messages of this subject.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|wide| covers(wide, subject))
    }
}

/// Refuses a server that is too old.
pub(crate) fn check_server(version: &str) -> Result<(), Refusal> {
    if numbers(version)[..] < SERVER_MIN[..] {
        return Err(Refusal::invalid(format!(
            "the server has version {version}; update it to 2.9 or later, best to 2.10.23 or later"
        )));
    }
    Ok(())
}

/// Refuses a stream in which confirmed messages can vanish, or that takes none.
///
/// These refusals hold for every message; [`check_subjects`] is about some.
pub(crate) fn check_stream(stream: &StreamConfig, config: &Config) -> Result<Durability, Refusal> {
    let name = &stream.name;
    let refuse = |text: String| Err(Refusal::invalid(format!("stream {name} {text}")));
    if stream.mirror.is_some() {
        return refuse(String::from(
            "is a mirror, which takes no messages: publish to its origin",
        ));
    }
    if stream.sealed {
        return refuse(String::from(
            "is sealed and takes no messages any more: name another stream",
        ));
    }
    if stream.no_ack {
        return refuse(String::from(
            "acknowledges nothing: set its no_ack to false",
        ));
    }
    if stream.duplicate_window < config.redelivery_horizon {
        return refuse(format!(
            "knows a message again for {:?} only: raise its duplicate_window to the \
             redelivery_horizon of {:?}, or lower that to twice the relay's time-to-live, its publish \
             timeout and 30s together",
            stream.duplicate_window, config.redelivery_horizon
        ));
    }
    let durability = match stream.storage {
        StorageType::Memory => Durability::Volatile,
        StorageType::File if stream.num_replicas > 1 => Durability::Replicated,
        StorageType::File => Durability::PageCache,
    };
    if durability < config.durability_min {
        return refuse(match durability {
            Durability::Volatile => String::from(
                "is kept in memory, where a restart of the server loses what it has confirmed: make \
                 it with file storage, or set durability_min to Volatile",
            ),
            _ => format!(
                "has 1 replica: raise its replicas, or lower durability_min from {:?} to PageCache",
                config.durability_min
            ),
        });
    }
    Ok(durability)
}

/// Refuses a stream that is full and drops nothing, for as long as that is so.
pub(crate) fn check_room(info: &Info) -> Result<(), Refusal> {
    let (limits, state) = (&info.config, &info.state);
    if limits.discard != DiscardPolicy::New {
        return Ok(());
    }
    let reached =
        |limit: i64, is: u64| u64::try_from(limit).is_ok_and(|most| most > 0 && is >= most);
    for (what, limit, is) in [
        ("messages", limits.max_messages, state.messages),
        ("bytes", limits.max_bytes, state.bytes),
    ] {
        if reached(limit, is) {
            return Err(Refusal::unavailable(format!(
                "stream {} is full: it has {is} of {limit} {what}; raise its limit, or let \
                 consumers and ages make room",
                limits.name
            )));
        }
    }
    Ok(())
}

/// Refuses a stream that does not take every subject that will be published to.
pub(crate) fn check_subjects(stream: &Stream, config: &Config) -> Result<(), Refusal> {
    let missing = config.subjects().find(|subject| !stream.takes(subject));
    missing.map_or(Ok(()), |subject| {
        Err(Refusal::invalid(format!(
            "stream {} does not take {subject}: its subjects are {}; add it to them, or set prefix \
             and topics to what they take",
            stream.name,
            shown(&stream.subjects)
        )))
    })
}

/// What a person should know of a server and a stream that are good enough.
pub(crate) fn warnings(version: &str, stream: &StreamConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if numbers(version)[..] < SERVER_SAFE[..] {
        warnings.push(format!(
            "the server has version {version}; before 2.10.23 a killed server could lose a stream"
        ));
    }
    let limited = stream.max_messages > 0
        || stream.max_bytes > 0
        || stream.max_messages_per_subject > 0
        || !stream.max_age.is_zero();
    if stream.discard == DiscardPolicy::Old && limited {
        warnings.push(String::from(
            "the stream drops its oldest messages at its limits, whether they were read or not",
        ));
    }
    if stream.retention == RetentionPolicy::Interest {
        warnings.push(String::from(
            "the stream keeps no message for which it has no consumer at that moment",
        ));
    }
    if stream.storage == StorageType::Memory {
        warnings.push(String::from(
            "the stream is kept in memory: a restart of the server loses what it has confirmed",
        ));
    }
    warnings
}

/// `2.10.23-beta.1` as `[2, 10, 23]`.
pub(crate) fn numbers(version: &str) -> Vec<u64> {
    let plain = version.trim_start_matches('v');
    let parts = plain.split('.').map_while(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit());
        part.get(..digits.unwrap_or(part.len()))?.parse().ok()
    });
    parts.take(3).collect()
}

/// A few subjects, for a sentence.
fn shown(subjects: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    if subjects.is_empty() {
        return String::from("none");
    }
    let mut text = subjects[..subjects.len().min(SHOWN_MAX)].join(", ");
    if subjects.len() > SHOWN_MAX {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config() -> Config {
        Config::builder("nats://localhost", "ORDERS")
            .build()
            .expect("a configuration")
    }

    fn stream() -> StreamConfig {
        StreamConfig {
            name: String::from("ORDERS"),
            duplicate_window: Duration::from_secs(120),
            num_replicas: 1,
            ..StreamConfig::default()
        }
    }

    #[test]
    fn what_makes_a_stream_unfit_is_told_with_what_to_change() {
        let fit = check_stream(&stream(), &config());
        assert_eq!(fit.expect("a fit stream"), Durability::PageCache);
        for (unfit, expected) in [
            (
                StreamConfig {
                    sealed: true,
                    ..stream()
                },
                "name another stream",
            ),
            (
                StreamConfig {
                    no_ack: true,
                    ..stream()
                },
                "set its no_ack to false",
            ),
            (
                StreamConfig {
                    duplicate_window: Duration::from_secs(89),
                    ..stream()
                },
                "raise its duplicate_window",
            ),
            (
                StreamConfig {
                    storage: StorageType::Memory,
                    ..stream()
                },
                "make it with file storage",
            ),
            (
                StreamConfig {
                    mirror: Some(Default::default()),
                    ..stream()
                },
                "publish to its origin",
            ),
        ] {
            let refusal = check_stream(&unfit, &config()).expect_err(expected);
            assert!(refusal.text.contains(expected), "{}", refusal.text);
        }
    }

    #[test]
    fn replicas_are_told_and_can_be_required() {
        let three = StreamConfig {
            num_replicas: 3,
            ..stream()
        };
        let told = check_stream(&three, &config()).expect("a fit stream");
        assert_eq!(told, Durability::Replicated);
        let mut strict = config();
        strict.durability_min = Durability::Replicated;
        assert!(check_stream(&three, &strict).is_ok());
        let refusal = check_stream(&stream(), &strict).expect_err("one replica");
        assert!(refusal.text.contains("raise its replicas"));
        strict.durability_min = Durability::Volatile;
        let memory = StreamConfig {
            storage: StorageType::Memory,
            ..three
        };
        let told = check_stream(&memory, &strict).expect("a stream that is allowed");
        assert_eq!(told, Durability::Volatile);
    }

    #[test]
    fn every_topic_lies_within_a_subject() {
        let of = |subjects: &[&str]| Stream {
            name: String::from("ORDERS"),
            subjects: subjects.iter().map(|one| (*one).to_owned()).collect(),
            created: 0,
        };
        assert!(check_subjects(&of(&["other", "iobox.>"]), &config()).is_ok());
        let refusal = check_subjects(&of(&["iobox.orders.>"]), &config()).expect_err("too narrow");
        assert!(
            refusal
                .text
                .contains("iobox.>: its subjects are iobox.orders.>")
        );
        let named = Config::builder("nats://localhost", "ORDERS")
            .topics(["orders.>", "stock"])
            .build()
            .expect("a configuration");
        assert!(check_subjects(&of(&["iobox.orders.>", "iobox.stock"]), &named).is_ok());
        assert!(check_subjects(&of(&["iobox.orders.>"]), &named).is_err());
        assert!(check_subjects(&of(&[]), &named).is_err());
    }

    #[test]
    fn an_old_server_is_refused_and_an_unsafe_one_is_told() {
        for (version, taken, safe) in [
            ("2.8.4", false, false),
            ("2.9.10", true, false),
            ("2.10.22", true, false),
            ("2.10.23", true, true),
            ("v2.15.1", true, true),
            ("2.11.0-beta.2", true, true),
            ("3.0", true, true),
            ("", false, false),
        ] {
            assert_eq!(check_server(version).is_ok(), taken, "{version}");
            assert_eq!(warnings(version, &stream()).is_empty(), safe, "{version}");
        }
    }

    #[test]
    fn a_stream_that_forgets_is_told() {
        let told = |stream: StreamConfig| warnings("2.15.1", &stream).len();
        assert_eq!(told(stream()), 0);
        let limited = || StreamConfig {
            max_bytes: 1,
            ..stream()
        };
        assert_eq!(told(limited()), 1);
        assert_eq!(
            told(StreamConfig {
                discard: DiscardPolicy::New,
                ..limited()
            }),
            0
        );
        assert_eq!(
            told(StreamConfig {
                retention: RetentionPolicy::Interest,
                ..stream()
            }),
            1
        );
    }
}
