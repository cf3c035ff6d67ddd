//! The builder of a source: what is read, and how.

use std::{sync::Arc, time::Duration};

use iobox_core::{Error, Result, inbox::SourceName, source::Order};

use super::{
    RedisSource, arrival::Foreign, consumer::Consumers, position, stream::Stream, whole::Settings,
};
use crate::{Config, connection::Connector};

/// The most streams of a source.
const STREAMS_MAX: usize = 64;
/// The longest name of a field, in bytes.
const FIELD_MAX: usize = 255;
/// The bounds of the time after which what a consumer was given is taken over.
const CLAIM_MIN: Duration = Duration::from_secs(1);
/// The longest such time.
const CLAIM_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Builds a [`RedisSource`]. Every setting has a default; [`build`](Self::build) checks all of them.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisSourceBuilder {
    config: Config,
    name: SourceName,
    /// Keys, `None` for that of the topic, and topics.
    streams: Vec<(Option<String>, String)>,
    order: Order,
    claim_after: Duration,
    foreign: Foreign,
}

impl RedisSourceBuilder {
    pub(super) fn new(config: Config, name: SourceName) -> Self {
        Self {
            config,
            name,
            streams: Vec::new(),
            order: Order::Stream,
            claim_after: RedisSource::CLAIM_AFTER,
            foreign: Foreign::default(),
        }
    }

    /// Reads the stream that publishers with the prefix of the configuration write for `topic`. A
    /// source reads 1 to 64 streams.
    ///
    /// A topic that is added later is read from the beginning of its stream. One that is left out
    /// and comes back is read on from where it was, unless 8 KiB of places were not enough to keep
    /// that; then it is read from the beginning again, and what is still known is not stored twice.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.streams.push((None, topic.into()));
        self
    }

    /// Reads the stream with this key, whoever writes it; entries that do not tell their topic get
    /// `topic`. The key has 1 to 200 characters of printable ASCII without blanks.
    pub fn stream(mut self, key: impl Into<String>, topic: impl Into<String>) -> Self {
        self.streams.push((Some(key.into()), topic.into()));
        self
    }

    /// Reads on every instance at once, in no order; the server remembers what was acked.
    pub const fn unordered(mut self) -> Self {
        self.order = Order::None;
        self
    }

    /// Sets for how long an entry may have been with an instance that did not ack it before another
    /// one takes it over, without an order. Default: 60 s; 1 s to 24 h.
    ///
    /// Longer than storing a batch takes: what is taken over too early is read twice, and stored
    /// once.
    pub const fn claim_after(mut self, idle: Duration) -> Self {
        self.claim_after = idle;
        self
    }

    /// Takes the ids of messages of other programs from this field; an entry without it is refused.
    /// Default: the key of the stream and the id of the entry. 1 to 255 bytes.
    ///
    /// Two entries with the same id are the same message: the second is not handled.
    pub fn foreign_id(mut self, field: impl Into<String>) -> Self {
        self.foreign.id = Some(field.into());
        self
    }

    /// Takes the ordering keys of messages of other programs from this field; an entry without it has
    /// none. Default: none has one. 1 to 255 bytes.
    pub fn foreign_key(mut self, field: impl Into<String>) -> Self {
        self.foreign.key = Some(field.into());
        self
    }

    /// Checks every setting. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the setting and its bound.
    pub fn build(self) -> Result<RedisSource> {
        let count = self.streams.len();
        if !(1..=STREAMS_MAX).contains(&count) {
            return Err(Error::invalid(format!(
                "the source has {count} streams; it needs 1 to {STREAMS_MAX}"
            )));
        }
        let prefix = &self.config.prefix;
        let stream = |(key, topic): &(Option<String>, String)| {
            let key = key.clone().unwrap_or_else(|| format!("{prefix}{topic}"));
            Stream::new(key, topic)
        };
        let streams: Vec<Stream> = self.streams.iter().map(stream).collect::<Result<_>>()?;
        let mut keys: Vec<&str> = streams.iter().map(|stream| stream.key.as_str()).collect();
        keys.sort_unstable();
        if let Some([key, _]) = keys.array_windows().find(|[one, next]| one == next) {
            return Err(Error::invalid(format!(
                "the source reads the stream {key} twice"
            )));
        }
        position::check(keys.into_iter())?;
        if !(CLAIM_MIN..=CLAIM_MAX).contains(&self.claim_after) {
            return Err(Error::invalid(format!(
                "claim_after is {:?}; it needs {CLAIM_MIN:?} to {CLAIM_MAX:?}",
                self.claim_after
            )));
        }
        let fields = [
            ("foreign_id", &self.foreign.id),
            ("foreign_key", &self.foreign.key),
        ];
        for (setting, field) in fields {
            let bytes = field.as_ref().map(String::len);
            if let Some(bytes) = bytes.filter(|bytes| !(1..=FIELD_MAX).contains(bytes)) {
                return Err(Error::invalid(format!(
                    "{setting} has {bytes} bytes; it needs 1 to {FIELD_MAX}"
                )));
            }
        }
        Ok(RedisSource::from_settings(Settings {
            connector: Connector::new(&self.config),
            config: self.config,
            name: self.name,
            streams,
            order: self.order,
            claim_after: self.claim_after,
            foreign: self.foreign,
            consumers: Arc::new(Consumers::default()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> RedisSourceBuilder {
        let config = Config::builder("redis://localhost").build();
        let name = SourceName::new("orders").expect("a name");
        RedisSource::builder(config.expect("a configuration"), name)
    }

    #[test]
    fn each_bound_is_named() {
        let one = || builder().topic("t");
        let many = |count: usize, length: usize| {
            (0..count).fold(builder(), |builder, n| {
                builder.topic(format!("{n:0length$}"))
            })
        };
        for (builder, says) in [
            (builder(), "the source has 0 streams; it needs 1 to 64"),
            (many(65, 3), "the source has 65 streams"),
            (many(64, 60), "at most 8192 are allowed"),
            (many(1, 195), "key of a stream has 201 bytes"),
            (builder().topic("a b"), "at byte 7"),
            (builder().topic("a*"), "wildcards"),
            (builder().stream("", "t"), "key of a stream has 0 bytes"),
            (one().topic("t"), "reads the stream iobox:t twice"),
            (one().stream("iobox:t", "x"), "twice"),
            (
                one().claim_after(Duration::from_millis(999)),
                "claim_after is 999ms; it needs 1s to 86400s",
            ),
            (one().foreign_id(""), "foreign_id has 0 bytes"),
            (one().foreign_key("k".repeat(256)), "foreign_key has 256"),
        ] {
            let error = builder.build().expect_err(says);
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
            assert!(error.to_string().contains(says), "{error}");
        }
        many(64, 20).build().expect("64 streams");
        many(1, 194).build().expect("a long topic");
    }
}
