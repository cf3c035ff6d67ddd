//! The configuration: what a publisher is set to, checked once.

use std::{fmt, time::Duration};

use iobox_core::{Error, Result, publisher::Durability};

use crate::{
    access::{Access, AccessSettings, check_duration, check_timeout},
    address::Credentials,
    stream::{StreamSettings, check_name},
    subject::{Pattern, Prefix},
};

/// The most patterns of topics.
const TOPICS_MAX: usize = 1_000;

/// What a [`JetStreamPublisher`](crate::JetStreamPublisher) is set to. Made by [`Config::builder`].
///
/// `Debug` shows no credentials.
#[derive(Clone)]
pub struct Config {
    pub(crate) access: Access,
    pub(crate) stream: String,
    pub(crate) prefix: Prefix,
    pub(crate) topics: Vec<Pattern>,
    pub(crate) create: Option<StreamSettings>,
    pub(crate) redelivery_horizon: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) durability_min: Durability,
}

impl Config {
    /// The default of [`redelivery_horizon`](ConfigBuilder::redelivery_horizon).
    pub const REDELIVERY_HORIZON: Duration = Duration::from_secs(90);
    /// The default of [`ack_timeout`](ConfigBuilder::ack_timeout).
    pub const ACK_TIMEOUT: Duration = Duration::from_secs(3);
    /// The default of [`connect_timeout`](ConfigBuilder::connect_timeout).
    pub const CONNECT_TIMEOUT: Duration = AccessSettings::CONNECT_TIMEOUT;
    /// The default of [`max_in_flight`](ConfigBuilder::max_in_flight).
    pub const MAX_IN_FLIGHT: usize = 4_096;
    /// The largest [`max_in_flight`](ConfigBuilder::max_in_flight).
    pub const MAX_IN_FLIGHT_MAX: usize = 65_536;

    /// Starts from the defaults, with the servers of one cluster and the stream that takes the
    /// messages.
    ///
    /// `servers` are URLs such as `nats://host:4222` or `tls://host:4222`, separated by commas. A
    /// user and password, or a token in place of the user, may stand in them.
    pub fn builder(servers: impl Into<String>, stream: impl Into<String>) -> ConfigBuilder {
        ConfigBuilder {
            access: AccessSettings::new(servers),
            stream: stream.into(),
            prefix: String::from(Prefix::DEFAULT),
            topics: vec![String::from(">")],
            create: None,
            redelivery_horizon: Self::REDELIVERY_HORIZON,
            ack_timeout: Self::ACK_TIMEOUT,
            max_in_flight: Self::MAX_IN_FLIGHT,
            durability_min: Durability::PageCache,
        }
    }

    /// The patterns of the subjects that are published to.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = String> {
        self.topics.iter().map(|topic| topic.behind(&self.prefix))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("access", &self.access)
            .field("stream", &self.stream)
            .field("prefix", &self.prefix)
            .field("topics", &self.topics)
            .field("create", &self.create)
            .field("redelivery_horizon", &self.redelivery_horizon)
            .field("ack_timeout", &self.ack_timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("durability_min", &self.durability_min)
            .finish()
    }
}

/// Builds a [`Config`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    access: AccessSettings,
    stream: String,
    prefix: String,
    topics: Vec<String>,
    create: Option<StreamSettings>,
    redelivery_horizon: Duration,
    ack_timeout: Duration,
    max_in_flight: usize,
    durability_min: Durability,
}

impl ConfigBuilder {
    /// Sets what stands before each topic in its subject. Default: `iobox`; empty for nothing.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets which topics will be published, as patterns with the wildcards of NATS. Default: all.
    ///
    /// A probe refuses a stream unless each pattern, behind the prefix, lies within one of its
    /// subjects.
    pub fn topics<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.topics = patterns.into_iter().map(Into::into).collect();
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

    /// Makes the stream at the first connection if it does not exist. Default: that is refused.
    ///
    /// A stream that vanishes later is never made again, since what it held is gone.
    pub fn create_stream(mut self, settings: StreamSettings) -> Self {
        self.create = Some(settings);
        self
    }

    /// Sets for how long the stream must know a message again, so that a copy of it that is sent
    /// later is absorbed: the least duplicate window of the stream. Default: 90 s; 1 s to 7 days.
    ///
    /// Set it yourself when you raise the relay's time-to-live, which the publisher does not know: to twice
    /// the time-to-live, the publish timeout and the 30 s after which a dead connection is dropped, together.
    /// A message whose lease was lost is sent again by somebody else, and the first copy may still be on its
    /// way. Copies of what was sent before a longer outage come later than that, and consumers must tolerate
    /// them.
    pub const fn redelivery_horizon(mut self, horizon: Duration) -> Self {
        self.redelivery_horizon = horizon;
        self
    }

    /// Sets how long one publish waits for its acknowledgements; then they are unknown. Default:
    /// 3 s; 10 ms to 10 min.
    ///
    /// Keep it below the relay's publish timeout, whose reason says less.
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Sets how long connecting and asking for the stream may take together. Default: 3 s; 10 ms to
    /// 10 min.
    ///
    /// Keep it below the relay's publish timeout, 4 s by default: a message that still waits for a
    /// connection when that ends has an unknown outcome, although nothing was sent.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.access.connect_timeout = timeout;
        self
    }

    /// Sets how many messages of all calls together may be sent and not acknowledged; more wait.
    /// Default: 4,096; 1 to 65,536.
    pub const fn max_in_flight(mut self, messages: usize) -> Self {
        self.max_in_flight = messages;
        self
    }

    /// Sets the least that an acknowledgement must be worth. Default:
    /// [`PageCache`](Durability::PageCache), so that a stream in memory is refused.
    ///
    /// A stream on files counts as [`Replicated`](Durability::Replicated) with two replicas or more.
    /// [`Synced`](Durability::Synced) cannot be told by a client, so that only replicas satisfy it.
    pub const fn durability_min(mut self, durability: Durability) -> Self {
        self.durability_min = durability;
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
    pub fn build(self) -> Result<Config> {
        let access = self.access.build()?;
        check_name(&self.stream)?;
        if self.topics.is_empty() || self.topics.len() > TOPICS_MAX {
            return Err(Error::invalid(format!(
                "topics has {} patterns; it needs 1 to {TOPICS_MAX}",
                self.topics.len()
            )));
        }
        let topics = self.topics.iter().map(|topic| Pattern::new(topic));
        let topics: Vec<Pattern> = topics.collect::<Result<_>>()?;
        let prefix = Prefix::new(self.prefix)?;
        if prefix.as_str().is_empty() && topics.contains(&Pattern::all()) {
            return Err(Error::invalid(
                "prefix is empty, and no stream takes every subject: set a prefix, or name the \
                 topics",
            ));
        }
        if let Some(settings) = &self.create {
            settings.check(self.redelivery_horizon, self.durability_min)?;
        }
        let second = Duration::from_secs(1);
        check_duration(
            "redelivery_horizon",
            self.redelivery_horizon,
            second,
            second * 7 * 24 * 3600,
        )?;
        check_timeout("ack_timeout", self.ack_timeout)?;
        if self.max_in_flight == 0 || self.max_in_flight > Config::MAX_IN_FLIGHT_MAX {
            return Err(Error::invalid(format!(
                "max_in_flight is {}; it needs 1 to {}",
                self.max_in_flight,
                Config::MAX_IN_FLIGHT_MAX
            )));
        }
        Ok(Config {
            access,
            stream: self.stream,
            prefix,
            topics,
            create: self.create,
            redelivery_horizon: self.redelivery_horizon,
            ack_timeout: self.ack_timeout,
            max_in_flight: self.max_in_flight,
            durability_min: self.durability_min,
        })
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("stream", &self.stream)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ConfigBuilder {
        Config::builder("nats://localhost", "ORDERS")
    }

    #[test]
    fn the_defaults_build() {
        let config = base().build().expect("a configuration");
        assert_eq!(config.subjects().collect::<Vec<_>>(), ["iobox.>"]);
        assert!(!config.access.require_tls);
    }

    #[test]
    fn every_bound_is_named() {
        let second = Duration::from_secs(1);
        let many = vec!["a"; TOPICS_MAX + 1];
        for (builder, name) in [
            (Config::builder("nats:///x", "ORDERS"), "servers"),
            (Config::builder("http://a", "ORDERS"), "servers"),
            (Config::builder("nats://localhost", ""), "stream"),
            (Config::builder("nats://localhost", "a.b"), "stream"),
            (base().prefix("a b"), "prefix"),
            (base().prefix(""), "prefix is empty"),
            (base().topics(["a*"]), "pattern of topics"),
            (base().topics([""; 0]), "topics"),
            (base().topics(many), "topics"),
            (base().redelivery_horizon(second / 2), "redelivery_horizon"),
            (base().ack_timeout(Duration::ZERO), "ack_timeout"),
            (base().connect_timeout(second * 601), "connect_timeout"),
            (base().max_in_flight(0), "max_in_flight"),
            (base().max_in_flight(65_537), "max_in_flight"),
            (base().name("a\nb"), "name"),
        ] {
            let error = builder.build().expect_err(name);
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn another_host_needs_tls() {
        let remote = || Config::builder("nats://broker", "ORDERS");
        let plain = remote().allow_plaintext(true).build();
        assert!(!plain.expect("a configuration").access.require_tls);
        let tls = Config::builder("tls://localhost", "ORDERS").build();
        if cfg!(feature = "tls") {
            assert!(
                remote()
                    .build()
                    .expect("a configuration")
                    .access
                    .require_tls
            );
            assert!(tls.expect("a configuration").access.require_tls);
        } else {
            let error = remote().build().expect_err("no TLS").to_string();
            assert!(error.contains("allow_plaintext"), "{error}");
            let error = tls.expect_err("no TLS").to_string();
            assert!(error.contains("feature tls"), "{error}");
        }
    }

    #[test]
    fn credentials_stay_secret() {
        let builder = Config::builder("nats://me:canary@localhost", "ORDERS");
        assert!(!format!("{builder:?}").contains("canary"));
        let config = builder.build().expect("a configuration");
        assert!(!format!("{config:?}").contains("canary"));
        let config = base().token("canary").user("me", "canary").build();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
