//! The configuration of a store.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use iobox_core::{
    Error, Result,
    message::{IdSource, Limits, RandomIds},
    partition::Partitions,
};

use crate::ident::Ident;

/// When a commit counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// A commit is on the disk when it returns. The default.
    #[default]
    Full,
    /// A commit survives the death of the process, but the last ones may roll back when the host
    /// loses power; the file stays consistent.
    ///
    /// Messages that were published before such a loss may be published again, and business rows
    /// may vanish although their messages were published.
    Normal,
}

/// What a [`SqliteStore`](crate::SqliteStore) is set to: [`Config::new`] for the defaults, or made by
/// [`Config::builder`].
#[derive(Clone)]
pub struct Config {
    pub(crate) path: PathBuf,
    pub(crate) prefix: Ident,
    pub(crate) partitions: Partitions,
    pub(crate) limits: Limits,
    pub(crate) synchronous: Synchronous,
    pub(crate) busy_timeout: Duration,
    pub(crate) queue: usize,
    pub(crate) transaction_limit: Duration,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Config {
    /// The default of [`table_prefix`](ConfigBuilder::table_prefix).
    pub const TABLE_PREFIX: &'static str = "iobox_";
    /// The default of [`busy_timeout`](ConfigBuilder::busy_timeout).
    pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
    /// The longest [`busy_timeout`](ConfigBuilder::busy_timeout).
    pub const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(60);
    /// The default of [`queue`](ConfigBuilder::queue), in calls.
    pub const QUEUE: usize = 256;
    /// The largest [`queue`](ConfigBuilder::queue), in calls.
    pub const QUEUE_MAX: usize = 65_536;
    /// The default of [`transaction_limit`](ConfigBuilder::transaction_limit).
    pub const TRANSACTION_LIMIT: Duration = Duration::from_secs(2);
    /// The longest [`transaction_limit`](ConfigBuilder::transaction_limit).
    pub const TRANSACTION_LIMIT_MAX: Duration = Duration::from_secs(60);

    /// The defaults, for the database file at `path`, which is made if it is not there.
    ///
    /// The file must lie on a local file system. A database in memory is refused when the store is
    /// opened: every connection would have its own.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            prefix: Ident::default(),
            partitions: Partitions::DEFAULT,
            limits: Limits::default(),
            synchronous: Synchronous::Full,
            busy_timeout: Self::BUSY_TIMEOUT,
            queue: Self::QUEUE,
            transaction_limit: Self::TRANSACTION_LIMIT,
            ids: Arc::new(RandomIds),
        }
    }

    /// Starts from the defaults, for the database file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> ConfigBuilder {
        ConfigBuilder {
            prefix: String::from(Self::TABLE_PREFIX),
            partitions: Partitions::DEFAULT.count(),
            payload_max: Limits::PAYLOAD_DEFAULT,
            rest: Self::new(path),
        }
    }

    /// The path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a path that every connection would take for a database of its own.
    pub(crate) fn check_path(&self) -> Result<()> {
        let path = self.path.as_os_str();
        if path.is_empty() || path == ":memory:" {
            return Err(Error::invalid(
                "path names a database in memory; several connections need a file",
            ));
        }
        Ok(())
    }
}

/// Builds a [`Config`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    prefix: String,
    partitions: u16,
    payload_max: usize,
    rest: Config,
}

impl ConfigBuilder {
    /// Sets what the names of all tables, indexes and views start with: 1 to 48 bytes of a to z, 0 to
    /// 9 and _. Default: `iobox_`.
    ///
    /// With it several outboxes can stand in one file.
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
    pub const fn payload_max(mut self, bytes: usize) -> Self {
        self.payload_max = bytes;
        self
    }

    /// Sets when a commit counts as safe. Default: [`Synchronous::Full`].
    pub const fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.rest.synchronous = synchronous;
        self
    }

    /// Sets how long a statement waits for another writer before it fails as
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable): 1 ms to 60 s. Default: 5 s.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.rest.busy_timeout = timeout;
        self
    }

    /// Sets how many calls may wait for each of the store's threads, 1 to 65,536; later callers
    /// wait for room. Default: 256.
    pub const fn queue(mut self, calls: usize) -> Self {
        self.rest.queue = calls;
        self
    }

    /// Sets how long a transaction of [`begin`](crate::SqliteStore::begin), of
    /// [`write`](crate::SqliteStore::write) or of a transactional handler may last before it is rolled back,
    /// whatever the handler's own timeout: 1 ms to 60 s. Default: 2 s.
    ///
    /// Nothing else is written while it lasts, no lease is renewed either: keep it well below the
    /// time-to-live of the relays' leases.
    pub const fn transaction_limit(mut self, limit: Duration) -> Self {
        self.rest.transaction_limit = limit;
        self
    }

    /// Sets where ids of messages and the origin come from. Default: UUIDs of version 7.
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
        config.check_path()?;
        config.prefix = Ident::new(self.prefix)?;
        config.partitions = Partitions::new(self.partitions)?;
        config.limits = Limits::new(self.payload_max)?;
        within(
            "busy_timeout",
            config.busy_timeout,
            Config::BUSY_TIMEOUT_MAX,
        )?;
        within(
            "transaction_limit",
            config.transaction_limit,
            Config::TRANSACTION_LIMIT_MAX,
        )?;
        if config.queue == 0 || config.queue > Config::QUEUE_MAX {
            return Err(Error::invalid(format!(
                "queue is {} calls; it needs 1 to {}",
                config.queue,
                Config::QUEUE_MAX
            )));
        }
        Ok(config)
    }
}

/// Refuses a duration that is shorter than 1 ms or longer than `max`.
fn within(field: &str, value: Duration, max: Duration) -> Result<()> {
    if value < Duration::from_millis(1) || value > max {
        return Err(Error::invalid(format!(
            "{field} is {value:?}; it needs 1ms to {max:?}"
        )));
    }
    Ok(())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions.count())
            .field("synchronous", &self.synchronous)
            .field("busy_timeout", &self.busy_timeout)
            .field("queue", &self.queue)
            .field("transaction_limit", &self.transaction_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_build() {
        let config = Config::builder("a.db").build().unwrap();
        assert_eq!(config.prefix.as_str(), "iobox_");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::new("a.db")));
    }

    #[test]
    fn every_bound_is_named() {
        let base = || Config::builder("a.db");
        let broken = [
            (Config::builder(""), "path"),
            (Config::builder(":memory:"), "path"),
            (base().table_prefix("a-"), "table_prefix"),
            (base().table_prefix(""), "table_prefix"),
            (base().partitions(3), "partitions"),
            (base().payload_max(0), "payload_max"),
            (base().queue(0), "queue"),
            (base().queue(Config::QUEUE_MAX + 1), "queue"),
            (base().busy_timeout(Duration::ZERO), "busy_timeout"),
            (base().busy_timeout(Duration::from_secs(61)), "busy_timeout"),
            (
                base().transaction_limit(Duration::from_micros(999)),
                "transaction_limit",
            ),
            (
                base().transaction_limit(Duration::from_secs(61)),
                "transaction_limit",
            ),
        ];
        for (builder, name) in broken {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
