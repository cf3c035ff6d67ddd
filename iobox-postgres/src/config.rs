//! The configuration: what a store is set to, checked once.

use std::{sync::Arc, time::Duration};

use iobox_core::{
    Error, Result,
    message::{IdSource, Limits, RandomIds},
    partition::Partitions,
};

use crate::ident::Ident;

/// The bounds of a timeout that Postgres is given: it takes whole milliseconds.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The longest timeout.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a [`PostgresStore`](crate::PostgresStore) is set to. Made by [`Config::builder`].
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) schema: Ident,
    pub(crate) prefix: Option<Ident>,
    pub(crate) partitions: Partitions,
    pub(crate) limits: Limits,
    pub(crate) pool_size: u32,
    pub(crate) pool_timeout: Duration,
    pub(crate) wake_up: bool,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) idle_in_transaction_timeout: Duration,
    pub(crate) allow_plaintext: bool,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Config {
    /// The default schema.
    pub const SCHEMA: &'static str = "iobox";
    /// The default of [`pool_size`](ConfigBuilder::pool_size).
    pub const POOL_SIZE: u32 = 4;
    /// The largest [`pool_size`](ConfigBuilder::pool_size).
    pub const POOL_SIZE_MAX: u32 = 256;
    /// The default of [`pool_timeout`](ConfigBuilder::pool_timeout).
    pub const POOL_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of [`statement_timeout`](ConfigBuilder::statement_timeout).
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
    /// The default of [`lock_timeout`](ConfigBuilder::lock_timeout).
    pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of
    /// [`idle_in_transaction_timeout`](ConfigBuilder::idle_in_transaction_timeout).
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
    /// Connections outside of the pool that an instance may hold: one that renews, two that
    /// sleep, two for administration.
    pub const CONNECTIONS_EXTRA: u32 = 5;

    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The most connections that one store opens: `pool_size` for fetches and settles, as many for the
    /// transactions of handlers and of receptions, and a few for everything else.
    #[must_use]
    pub const fn connections_max(&self) -> u32 {
        2 * self.pool_size + Self::CONNECTIONS_EXTRA
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: Ident::new("schema", Self::SCHEMA)
                .unwrap_or_else(|_| unreachable!("the default schema is an identifier")),
            prefix: None,
            partitions: Partitions::DEFAULT,
            limits: Limits::default(),
            pool_size: Self::POOL_SIZE,
            pool_timeout: Self::POOL_TIMEOUT,
            wake_up: true,
            statement_timeout: Self::STATEMENT_TIMEOUT,
            lock_timeout: Self::LOCK_TIMEOUT,
            idle_in_transaction_timeout: Self::IDLE_IN_TRANSACTION_TIMEOUT,
            allow_plaintext: false,
            ids: Arc::new(RandomIds),
        }
    }
}

/// Builds a [`Config`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    schema: String,
    prefix: String,
    partitions: u16,
    payload_max: usize,
    rest: Config,
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        Self {
            schema: String::from(Config::SCHEMA),
            prefix: String::new(),
            partitions: Partitions::DEFAULT.count(),
            payload_max: Limits::PAYLOAD_DEFAULT,
            rest: Config::default(),
        }
    }
}

impl ConfigBuilder {
    /// Sets the schema that holds the tables: 1 to 48 bytes of a to z, 0 to 9 and _. Default: `iobox`.
    pub fn schema(mut self, schema: impl AsRef<str>) -> Self {
        self.schema = String::from(schema.as_ref());
        self
    }

    /// Sets what the names of all tables start with: up to 48 bytes of a to z, 0 to 9 and _. Default:
    /// nothing.
    ///
    /// With it several outboxes can stand in one schema.
    pub fn table_prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = String::from(prefix.as_ref());
        self
    }

    /// Sets the number of partitions, fixed by the first migration: a power of two up to 256. A store
    /// that is opened with another number is refused. Default: 16.
    pub const fn partitions(mut self, count: u16) -> Self {
        self.partitions = count;
        self
    }

    /// Sets the largest payload in bytes: 1 byte to 1 MiB. Default: 256 KiB.
    ///
    /// The SQL function has the value of the last migration.
    pub const fn payload_max(mut self, bytes: usize) -> Self {
        self.payload_max = bytes;
        self
    }

    /// Sets how many connections the store's pool may open. Default: 4; 2 to 256.
    pub const fn pool_size(mut self, connections: u32) -> Self {
        self.rest.pool_size = connections;
        self
    }

    /// Sets how long a call waits for a connection of the pool, and how long the server may take to open
    /// one, to begin or to roll back before it is given up. Default: 5 s.
    pub const fn pool_timeout(mut self, timeout: Duration) -> Self {
        self.rest.pool_timeout = timeout;
        self
    }

    /// Switches the database wake-up on or off. Default: on.
    ///
    /// A transaction that woke a relay cannot be prepared for a two-phase commit; switch it off
    /// for those. The SQL function has the value of the last migration.
    pub const fn wake_up(mut self, on: bool) -> Self {
        self.rest.wake_up = on;
        self
    }

    /// Sets how long a statement of the store may run, and how long a COMMIT, or a reception as a whole,
    /// may take before its outcome is unknown. Default: 30 s.
    pub const fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.rest.statement_timeout = timeout;
        self
    }

    /// Sets how long a statement of the store waits for a lock. Default: 5 s.
    pub const fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.rest.lock_timeout = timeout;
        self
    }

    /// Sets how long a session of the store may stand idle in a transaction. Default: 10 s; keep it at or
    /// below the time-to-live. The sessions of handlers, which do other things meanwhile, have 10 min if that
    /// is longer.
    pub const fn idle_in_transaction_timeout(mut self, timeout: Duration) -> Self {
        self.rest.idle_in_transaction_timeout = timeout;
        self
    }

    /// Allows a connection to another host without verified TLS. Default: refused.
    pub const fn allow_plaintext(mut self, allow: bool) -> Self {
        self.rest.allow_plaintext = allow;
        self
    }

    /// Sets where ids of messages come from. Default: UUIDs of version 7.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.rest.ids = ids;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the setting and its bound.
    pub fn build(self) -> Result<Config> {
        let mut config = self.rest;
        config.schema = Ident::new("schema", self.schema)?;
        config.prefix = match self.prefix.as_str() {
            "" => None,
            _ => Some(Ident::new("table_prefix", self.prefix)?),
        };
        config.partitions = Partitions::new(self.partitions)?;
        config.limits = Limits::new(self.payload_max)?;
        if !(2..=Config::POOL_SIZE_MAX).contains(&config.pool_size) {
            return Err(Error::invalid(format!(
                "pool_size is {}; it needs 2 to {}",
                config.pool_size,
                Config::POOL_SIZE_MAX
            )));
        }
        for (name, timeout) in [
            ("pool_timeout", config.pool_timeout),
            ("statement_timeout", config.statement_timeout),
            ("lock_timeout", config.lock_timeout),
            (
                "idle_in_transaction_timeout",
                config.idle_in_transaction_timeout,
            ),
        ] {
            if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
                return Err(Error::invalid(format!(
                    "{name} is {timeout:?}; it needs {TIMEOUT_MIN:?} to {TIMEOUT_MAX:?}"
                )));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_build() {
        let config = Config::builder().build().unwrap();
        assert_eq!(config.schema.as_str(), "iobox");
        assert_eq!(config.connections_max(), 13);
    }

    #[test]
    fn every_bound_is_named() {
        let broken = [
            (Config::builder().schema("A"), "schema"),
            (Config::builder().table_prefix("a-"), "table_prefix"),
            (Config::builder().partitions(3), "partitions"),
            (Config::builder().payload_max(0), "payload_max"),
            (Config::builder().pool_size(1), "pool_size"),
            (
                Config::builder().lock_timeout(Duration::ZERO),
                "lock_timeout",
            ),
        ];
        for (builder, name) in broken {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
