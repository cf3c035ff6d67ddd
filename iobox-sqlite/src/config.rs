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

use crate::Ident;

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

/// The settings of a [`SqliteStore`](crate::SqliteStore); checked when it is opened.
#[derive(Clone)]
#[must_use = "a configuration does nothing until a store is opened with it"]
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
    /// The default of [`busy_timeout`](Self::busy_timeout): 5 s.
    pub const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
    /// The longest [`busy_timeout`](Self::busy_timeout): 60 s.
    pub const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(60);
    /// The default of [`queue`](Self::queue): 256 calls.
    pub const QUEUE_DEFAULT: usize = 256;
    /// The largest [`queue`](Self::queue): 65,536 calls.
    pub const QUEUE_MAX: usize = 65_536;
    /// The default of [`transaction_limit`](Self::transaction_limit): 2 s.
    pub const TRANSACTION_LIMIT_DEFAULT: Duration = Duration::from_secs(2);
    /// The longest [`transaction_limit`](Self::transaction_limit): 60 s.
    pub const TRANSACTION_LIMIT_MAX: Duration = Duration::from_secs(60);

    /// The default settings for the database file at `path`, which is made if it is not there.
    ///
    /// The file must lie on a local file system. A database in memory is refused at open: every
    /// connection would have its own.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            prefix: Ident::default(),
            partitions: Partitions::DEFAULT,
            limits: Limits::default(),
            synchronous: Synchronous::Full,
            busy_timeout: Self::BUSY_TIMEOUT_DEFAULT,
            queue: Self::QUEUE_DEFAULT,
            transaction_limit: Self::TRANSACTION_LIMIT_DEFAULT,
            ids: Arc::new(RandomIds),
        }
    }

    /// Sets the prefix of every table, index and view; default `iobox_`.
    pub fn prefix(mut self, prefix: Ident) -> Self {
        self.prefix = prefix;
        self
    }

    /// Sets the number of partitions. The first migration fixes it; a store that is opened with
    /// another number is refused.
    pub const fn partitions(mut self, partitions: Partitions) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how large a message may be.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets when a commit counts as safe; default [`Synchronous::Full`].
    pub const fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets how long a statement waits for another writer before it fails as
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable): 1 ms to 60 s.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets how many calls may wait for each of the store's threads, 1 to 65,536; later callers
    /// wait for room.
    pub const fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// Sets how long a transaction of [`begin`](crate::SqliteStore::begin) or
    /// [`write`](crate::SqliteStore::write) may last before it is rolled back: 1 ms to 60 s.
    ///
    /// Nothing else is written while it lasts, no lease is renewed either: keep it well below the
    /// time-to-live of the relays' leases.
    pub const fn transaction_limit(mut self, limit: Duration) -> Self {
        self.transaction_limit = limit;
        self
    }

    /// Sets where ids of messages and the origin come from; default [`RandomIds`].
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// The path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks every bound.
    pub(crate) fn check(&self) -> Result<()> {
        let memory = self.path.as_os_str().is_empty() || self.path.as_os_str() == ":memory:";
        if memory {
            return Err(Error::invalid(
                "path names a database in memory; several connections need a file",
            ));
        }
        within("busy_timeout", self.busy_timeout, Self::BUSY_TIMEOUT_MAX)?;
        within(
            "transaction_limit",
            self.transaction_limit,
            Self::TRANSACTION_LIMIT_MAX,
        )?;
        if self.queue == 0 || self.queue > Self::QUEUE_MAX {
            return Err(Error::invalid(format!(
                "queue is {} calls; it needs 1 to {}",
                self.queue,
                Self::QUEUE_MAX
            )));
        }
        Ok(())
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
    fn what_breaks_a_bound_is_refused() {
        let base = || Config::new("a.db");
        assert!(base().check().is_ok());
        for bad in [
            Config::new(""),
            Config::new(":memory:"),
            base().queue(0),
            base().queue(Config::QUEUE_MAX + 1),
            base().busy_timeout(Duration::ZERO),
            base().busy_timeout(Duration::from_secs(61)),
            base().transaction_limit(Duration::from_micros(999)),
            base().transaction_limit(Duration::from_secs(61)),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
