//! The stream: its name, and how one is made that does not exist yet.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType,
};
use iobox_core::{Error, Result, publisher::Durability};

use crate::config::Config;

/// The longest name of a stream, in bytes.
const NAME_MAX: usize = 255;

/// How a stream is made that does not exist yet. An existing stream is never changed.
///
/// It is kept in files, for ever, without a limit, and takes the subjects of the configured topics;
/// a stream that should be otherwise is made by its administrator.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a configuration has them"]
pub struct StreamSettings {
    replicas: usize,
    duplicate_window: Option<Duration>,
    max_age: Duration,
    max_bytes: Option<i64>,
    memory: bool,
}

impl StreamSettings {
    /// One replica, in files, for ever, without a limit.
    pub const fn new() -> Self {
        Self {
            replicas: 1,
            duplicate_window: None,
            max_age: Duration::ZERO,
            max_bytes: None,
            memory: false,
        }
    }

    /// Sets on how many servers each message is kept. Default 1; 1 to 5.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets for how long the stream knows a message again. Default: the redelivery horizon, at
    /// least 2 min.
    pub const fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = Some(window);
        self
    }

    /// Sets how long the stream keeps a message. Default: for ever; at least the duplicate window.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how many bytes the stream takes. Default: no limit.
    ///
    /// A full stream refuses new messages, which then wait in the outbox; it never drops old ones.
    pub const fn max_bytes(mut self, bytes: i64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Keeps messages in the memory of the server, where a restart loses them. Default: in files.
    pub const fn memory(mut self) -> Self {
        self.memory = true;
        self
    }

    /// Checks the settings against those of the publisher.
    pub(crate) fn check(&self, horizon: Duration, durability_min: Durability) -> Result<()> {
        if !(1..=5).contains(&self.replicas) {
            return Err(Error::invalid(format!(
                "create_stream: replicas is {}; it needs 1 to 5",
                self.replicas
            )));
        }
        let window = self.window(horizon);
        if window < horizon {
            return Err(Error::invalid(format!(
                "create_stream: duplicate_window is {window:?}; it needs at least the \
                 redelivery_horizon of {horizon:?}"
            )));
        }
        if !self.max_age.is_zero() && self.max_age < window {
            return Err(Error::invalid(format!(
                "create_stream: max_age is {:?}; it needs at least the duplicate window of {window:?}",
                self.max_age
            )));
        }
        if self.max_bytes.is_some_and(|bytes| bytes <= 0) {
            return Err(Error::invalid(
                "create_stream: max_bytes needs 1 byte or more",
            ));
        }
        if self.memory && durability_min > Durability::Volatile {
            return Err(Error::invalid(
                "create_stream: memory loses messages when the server restarts; leave it away, or \
                 set durability_min to Volatile",
            ));
        }
        Ok(())
    }

    fn window(&self, horizon: Duration) -> Duration {
        self.duplicate_window
            .unwrap_or(horizon.max(Duration::from_secs(120)))
    }

    /// What the server is asked to make.
    pub(crate) fn request(&self, config: &Config) -> StreamConfig {
        StreamConfig {
            name: config.stream.clone(),
            subjects: config.subjects().collect(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            storage: if self.memory {
                StorageType::Memory
            } else {
                StorageType::File
            },
            num_replicas: self.replicas,
            duplicate_window: self.window(config.redelivery_horizon),
            max_age: self.max_age,
            max_bytes: self.max_bytes.unwrap_or(-1),
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            ..StreamConfig::default()
        }
    }
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses a name that no stream can have.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::invalid(format!(
            "stream has a name of {} bytes; it needs 1 to {NAME_MAX}",
            name.len()
        )));
    }
    let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
    if let Some(at) = name.find(|c| !legal(c)) {
        return Err(Error::invalid(format!(
            "stream has a name with an illegal character at byte {at}; use printable ASCII without \
             blanks and without . * > / \\"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn checked(settings: &StreamSettings) -> Result<()> {
        settings.check(MINUTE, Durability::PageCache)
    }

    #[test]
    fn a_stream_that_would_be_refused_is_not_made() {
        checked(&StreamSettings::new()).expect("the defaults");
        for (settings, expected) in [
            (StreamSettings::new().replicas(0), "replicas"),
            (StreamSettings::new().replicas(6), "replicas"),
            (
                StreamSettings::new().duplicate_window(MINUTE / 2),
                "duplicate_window",
            ),
            (StreamSettings::new().max_age(MINUTE), "max_age"),
            (StreamSettings::new().max_bytes(0), "max_bytes"),
            (StreamSettings::new().memory(), "memory"),
        ] {
            let error = checked(&settings).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_name_has_no_dots_and_no_blanks() {
        assert!(check_name("ORDERS-eu_1").is_ok());
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "a.b", "a b", "*", ">", "a/b", "a\\b", "é", "a\n", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
