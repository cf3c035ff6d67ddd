//! The configuration of a source, checked once.

use std::{fmt, time::Duration};

use iobox_core::{Error, Result, inbox::SourceName, source::Order};

use super::names::Names;
use crate::{
    access::{Access, AccessSettings, check_duration, check_timeout},
    address::Credentials,
    stream::check_name,
    subject::{Pattern, Prefix},
};

/// The most patterns of topics.
const TOPICS_MAX: usize = 100;
/// The longest name of a stream whose entries get ids of it, in bytes: an id has 255.
const STREAM_MAX: usize = 190;
const SECOND: Duration = Duration::from_secs(1);

/// What a [`JetStreamSource`](crate::JetStreamSource) is set to. Made by [`SourceConfig::builder`].
///
/// `Debug` shows no credentials.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    pub(super) access: Access,
    pub(super) stream: String,
    pub(super) source: SourceName,
    pub(super) names: Names,
    pub(super) prefix: Prefix,
    pub(super) topics: Vec<Pattern>,
    pub(super) order: Order,
    pub(super) message_ids: bool,
    pub(super) ack_timeout: Duration,
    pub(super) ack_wait: Duration,
    pub(super) silence: Duration,
}

impl SourceConfig {
    /// The default of [`connect_timeout`](SourceConfigBuilder::connect_timeout).
    pub const CONNECT_TIMEOUT: Duration = AccessSettings::CONNECT_TIMEOUT;
    /// The default of [`ack_timeout`](SourceConfigBuilder::ack_timeout).
    pub const ACK_TIMEOUT: Duration = Duration::from_secs(3);
    /// The default of [`ack_wait`](SourceConfigBuilder::ack_wait).
    pub const ACK_WAIT: Duration = Duration::from_secs(60);
    /// The default of [`silence`](SourceConfigBuilder::silence).
    pub const SILENCE: Duration = Duration::from_secs(10);

    /// Starts from the defaults, with the servers of one cluster, the stream that is read, and the
    /// name by which the cluster knows the application that reads.
    ///
    /// `servers` are as for a [publisher](crate::Config::builder). All instances of an application
    /// have the same `application`; two applications that read one stream need two, since each removes
    /// what its earlier instances left at the broker. It has 1 to 64 of `A-Z a-z 0-9 - _`.
    pub fn builder(
        servers: impl Into<String>,
        stream: impl Into<String>,
        application: impl Into<String>,
    ) -> SourceConfigBuilder {
        SourceConfigBuilder {
            access: AccessSettings::new(servers),
            stream: stream.into(),
            application: application.into(),
            source: None,
            prefix: String::from(Prefix::DEFAULT),
            topics: vec![String::from(">")],
            order: Order::Stream,
            message_ids: false,
            ack_timeout: Self::ACK_TIMEOUT,
            ack_wait: Self::ACK_WAIT,
            silence: Self::SILENCE,
        }
    }
}

/// Builds a [`SourceConfig`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct SourceConfigBuilder {
    access: AccessSettings,
    stream: String,
    application: String,
    source: Option<String>,
    prefix: String,
    topics: Vec<String>,
    order: Order,
    message_ids: bool,
    ack_timeout: Duration,
    ack_wait: Duration,
    silence: Duration,
}

impl SourceConfigBuilder {
    /// Sets the name of the source, by which its messages and its position are stored. Default: the
    /// name of the stream.
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.source = Some(name.into());
        self
    }

    /// Sets what stands before each topic in its subject, as the publisher is set. Default: `iobox`;
    /// empty when subjects are topics, as those of other programs are.
    ///
    /// Another prefix is another set of subjects, see [`topics`](Self::topics).
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets which topics are read, as patterns with the wildcards of NATS. Default: all behind the
    /// prefix. At most 100, of which no two may overlap; more than one need a server of 2.10 or later.
    ///
    /// A source that read other subjects before reads the stream from its beginning, so that it finds what
    /// the stream still holds of those that are new. What is stored already comes once more and is known by
    /// its id, for as long as the inbox's redelivery horizon: where a stream keeps entries for longer, raise
    /// that before the change, or read the new topics with a source of another name. A stream with
    /// interest holds nothing of a topic that nobody read. [Without an order](Self::unordered) the
    /// consumer that is shared keeps its place instead: of new topics come the entries that are behind it.
    pub fn topics<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.topics = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Reads in no order, by every instance at once, out of one consumer that they share. Default: in
    /// the order of the stream, by one instance at a time.
    ///
    /// A source that was read in the other way before leaves its consumer at the broker, for a person to
    /// delete: on a stream with interest it keeps entries for ever.
    pub const fn unordered(mut self) -> Self {
        self.order = Order::None;
        self
    }

    /// Takes the header `Nats-Msg-Id` of other programs' messages for their id. Default: not, since
    /// JetStream asks of it only to be unique for a few minutes; an id is then made of the stream's
    /// name and creation, and the entry's number and time.
    pub const fn use_message_ids(mut self, on: bool) -> Self {
        self.message_ids = on;
        self
    }

    /// Signs in with a user and a password, instead of what stands in the URLs.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.access.credentials = Some(Credentials::User(name.into(), password.into()));
        self
    }

    /// Signs in with a token, instead of what stands in the URLs.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access.credentials = Some(Credentials::Token(token.into()));
        self
    }

    /// Sets how long connecting may take, and each question to JetStream. Default: 3 s; 10 ms to
    /// 10 min.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.access.connect_timeout = timeout;
        self
    }

    /// Sets how long the server may take to confirm the acks of a batch. Default: 3 s; 10 ms to
    /// 10 min.
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Sets for how long an instance may hold what it read without an order, before the server gives
    /// it to another. Default: 60 s; 1 s to 1 h.
    pub const fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// Sets for how long the server may say nothing to a reader that waits, before the connection
    /// counts as dead. Default: 10 s; 1 s to 5 min.
    pub const fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Allows connections to other hosts without TLS. Default: refused.
    pub const fn allow_plaintext(mut self, allow: bool) -> Self {
        self.access.allow_plaintext = allow;
        self
    }

    /// Sets the name that the server shows for the connection. Default: `iobox`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.access.name = name.into();
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the setting and its bound.
    pub fn build(self) -> Result<SourceConfig> {
        let access = self.access.build()?;
        check_name(&self.stream)?;
        if self.stream.len() > STREAM_MAX {
            return Err(Error::invalid(format!(
                "stream has a name of {} bytes; one that is read needs at most {STREAM_MAX}, since \
                 ids hold it",
                self.stream.len()
            )));
        }
        let source = match &self.source {
            Some(name) => SourceName::new(name)?,
            None => SourceName::new(&self.stream).map_err(|error| {
                Error::invalid("the name of the stream is no name of a source: set source")
                    .with_source(error)
            })?,
        };
        if self.topics.is_empty() || self.topics.len() > TOPICS_MAX {
            return Err(Error::invalid(format!(
                "topics has {} patterns; it needs 1 to {TOPICS_MAX}",
                self.topics.len()
            )));
        }
        let topics = self.topics.iter().map(|topic| Pattern::new(topic));
        let topics: Vec<Pattern> = topics.collect::<Result<_>>()?;
        check_timeout("ack_timeout", self.ack_timeout)?;
        check_duration("ack_wait", self.ack_wait, SECOND, SECOND * 3600)?;
        check_duration("silence", self.silence, SECOND, SECOND * 300)?;
        Ok(SourceConfig {
            access,
            names: Names::new(&self.application, &source)?,
            stream: self.stream,
            source,
            prefix: Prefix::new(self.prefix)?,
            topics,
            order: self.order,
            message_ids: self.message_ids,
            ack_timeout: self.ack_timeout,
            ack_wait: self.ack_wait,
            silence: self.silence,
        })
    }
}

impl fmt::Debug for SourceConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfigBuilder")
            .field("stream", &self.stream)
            .field("application", &self.application)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> SourceConfigBuilder {
        SourceConfig::builder("nats://localhost", "ORDERS", "billing")
    }

    #[test]
    fn the_defaults_build() {
        let config = base().build().expect("a configuration");
        assert_eq!(config.source.as_str(), "ORDERS");
        assert_eq!(config.order, Order::Stream);
        let named = base().source("shop/orders").unordered().build();
        let named = named.expect("a configuration");
        assert_eq!(named.source.as_str(), "shop/orders");
        assert_eq!(named.order, Order::None);
    }

    #[test]
    fn every_bound_is_named() {
        let of = |stream: &str| SourceConfig::builder("nats://localhost", stream, "billing");
        for (builder, name) in [
            (SourceConfig::builder("nats:///x", "ORDERS", "a"), "servers"),
            (
                SourceConfig::builder("nats://localhost", "ORDERS", "a.b"),
                "application",
            ),
            (of(""), "stream"),
            (of("a.b"), "stream"),
            (of(&"x".repeat(191)), "at most 190"),
            (of("a=b"), "set source"),
            (base().source("a b"), "name of a source"),
            (base().source("/".repeat(60)), "source"),
            (base().prefix("a b"), "prefix"),
            (base().topics(["a*"]), "pattern of topics"),
            (base().topics([""; 0]), "topics"),
            (base().topics(vec!["a"; TOPICS_MAX + 1]), "topics"),
            (base().connect_timeout(Duration::ZERO), "connect_timeout"),
            (base().ack_timeout(SECOND * 601), "ack_timeout"),
            (base().ack_wait(SECOND / 2), "ack_wait"),
            (base().silence(SECOND / 2), "silence"),
            (base().name("a\nb"), "name"),
        ] {
            let error = builder.build().expect_err(name);
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn credentials_stay_secret() {
        let builder = SourceConfig::builder("nats://me:canary@localhost", "ORDERS", "billing");
        assert!(!format!("{builder:?}").contains("canary"));
        let config = builder.build().expect("a configuration");
        assert!(!format!("{config:?}").contains("canary"));
        let config = base().token("canary").user("me", "canary").build();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
