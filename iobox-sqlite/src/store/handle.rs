//! The handle: the store as the program holds it, with its threads.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, FetchRequest, Fetched, ReleaseRequest, RenewRequest, Renewed,
        Settled, Settlement, Signal, Store, StoreInfo, WakeUp,
    },
};

use super::{fetch, lease, settle};
use crate::{
    Config,
    error::Failure,
    gate::{Gate, Urgency},
    inbox::{Group, InboxSql},
    migrate,
    owner::Owner,
    sql::{Shelf, Sql},
    wake::Watch,
};

/// An outbox and an inbox in a SQLite file. Clones are the same store.
///
/// It has four connections to the file, each with a thread of its own: for the relay's fetches and
/// settlements, for leases, for the transactions of [`begin`](Self::begin) and
/// [`write`](Self::write), and for administration. So a slow transaction of the application, or a
/// long listing, keeps no fetch and no renewal back, except as long as it holds SQLite's only write
/// lock. A fifth, made when an instance first sleeps, watches for commits of others.
///
/// A future of the store that is dropped leaves its call done or not done: what was sent to a thread
/// runs to its end.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) sql: Arc<Sql>,
    pub(crate) inbox: Arc<InboxSql>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) group: Arc<Group>,
    pub(crate) signal: Signal,
    /// Enqueues so far, so that a commit knows whether there is something to wake for.
    pub(crate) enqueues: AtomicU64,
    pub(crate) application: Owner,
    pub(crate) relay: Owner,
    lease: Owner,
    pub(crate) admin: Owner,
    watch: Arc<Watch>,
}

impl SqliteStore {
    /// Opens the database file, and makes it if it is not there. Makes no tables.
    ///
    /// Blocks for a moment. Whether the tables fit is checked by
    /// [`verify`](Self::verify) and by [`Store::open`].
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) for a database in memory, for SQLite
    /// older than 3.51.3, and for a file that cannot be switched to write-ahead logging;
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the file cannot be opened.
    pub fn open(config: Config) -> Result<Self> {
        config.check_path()?;
        Ok(Self {
            inner: Arc::new(Inner {
                sql: Arc::new(Sql::new(&config.prefix, Shelf::outbox())),
                inbox: Arc::new(InboxSql::new(&config.prefix)),
                gate: Arc::new(Gate::new(config.busy_timeout)),
                group: Arc::default(),
                signal: Signal::new(),
                enqueues: AtomicU64::new(0),
                application: Owner::start(&config, "application")?,
                relay: Owner::start(&config, "relay")?,
                lease: Owner::start(&config, "lease")?,
                admin: Owner::start(&config, "admin")?,
                watch: Watch::new(config.clone()),
                config,
            }),
        })
    }

    /// Makes the tables, or brings them to the version that this program knows.
    ///
    /// Runs in one transaction and may run in several processes at once. The first run fixes the
    /// number of partitions and draws the origin.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when the tables are newer than the program or
    /// were made with another number of partitions.
    pub async fn migrate(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let migrated = self.inner.admin.call(move |conn| {
            let config = &inner.config;
            migrate::migrate(
                conn,
                &inner.gate,
                &inner.sql,
                &config.prefix,
                config.partitions,
                config.ids.as_ref(),
            )
        });
        Ok(migrated.await?)
    }

    /// Verifies that the tables fit this program, without changing anything: version, number of
    /// partitions, and that every statement of the store can run.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), saying what does not fit.
    pub async fn verify(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let verified = self.inner.admin.call(move |conn| {
            migrate::verify(conn, &inner.sql, &inner.inbox, inner.config.partitions).map(drop)
        });
        Ok(verified.await?)
    }

    /// The configuration that the store was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
}

impl Inner {
    /// Refuses a queue that this store is not of.
    pub(crate) fn known(&self, queue: &Queue) -> Result<()> {
        let own = &self.sql.shelf.queue;
        if queue.name() == own {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "queue {queue} is not that of this store, which is {own}; `queue_of` gives the store of a handler"
        )))
    }

    /// The same connections, signal and clock, for the rows of another queue.
    pub(crate) fn another(&self, shelf: Shelf) -> Self {
        Self {
            sql: Arc::new(Sql::new(&self.config.prefix, shelf)),
            inbox: Arc::clone(&self.inbox),
            config: self.config.clone(),
            gate: Arc::clone(&self.gate),
            group: Arc::clone(&self.group),
            signal: self.signal.clone(),
            enqueues: AtomicU64::new(0),
            application: self.application.clone(),
            relay: self.relay.clone(),
            lease: self.lease.clone(),
            admin: self.admin.clone(),
            watch: Arc::clone(&self.watch),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.inner.known(queue)?;
        let inner = Arc::clone(&self.inner);
        let checked = self
            .inner
            .lease
            .call(move |conn| migrate::check(conn, &inner.sql, inner.config.partitions));
        Ok(checked.await?)
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.inner.known(&request.queue)?;
        let (sql, gate, request) = (self.sql(), self.gate(), request.clone());
        let renewed = self.inner.lease.call(move |conn| {
            gate.write(Urgency::Urgent, conn, |tx| lease::renew(tx, &sql, &request))
        });
        Ok(renewed.await?)
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.inner.known(&request.queue)?;
        let (sql, gate, request) = (self.sql(), self.gate(), request.clone());
        let acquired = self.inner.lease.call(move |conn| {
            gate.write(Urgency::Urgent, conn, |tx| {
                lease::acquire(tx, &sql, &request)
            })
        });
        Ok(acquired.await?)
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.inner.known(&request.queue)?;
        let (sql, gate, request) = (self.sql(), self.gate(), request.clone());
        let released = self.inner.lease.call(move |conn| {
            gate.write(Urgency::Urgent, conn, |tx| {
                lease::release(tx, &sql, &request)
            })
        });
        Ok(released.await?)
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        self.inner.known(&request.queue)?;
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        let fetched = self.inner.relay.call(move |conn| {
            let partitions = inner.config.partitions;
            fetch::fetch(conn, &inner.gate, &inner.sql, partitions, &request)
        });
        Ok(fetched.await?)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let (sql, gate, settlements) = (self.sql(), self.gate(), settlements.to_vec());
        let settled = self.inner.relay.call(move |conn| {
            gate.write(Urgency::Normal, conn, |tx| {
                settle::settle(tx, &sql, &settlements)
            })
        });
        Ok(settled.await?)
    }

    fn signal(&self) -> &Signal {
        &self.inner.signal
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        let watch: Arc<Watch> = Arc::clone(&self.inner.watch);
        Some(watch)
    }
}

impl SqliteStore {
    fn sql(&self) -> Arc<Sql> {
        Arc::clone(&self.inner.sql)
    }

    fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.inner.gate)
    }

    /// Runs `work` on the connection for administration.
    pub(super) async fn administer<T: Send + 'static>(
        &self,
        queue: &Queue,
        work: impl FnOnce(&mut rusqlite::Connection, &Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.inner.known(queue)?;
        let inner = Arc::clone(&self.inner);
        let worked = self.inner.admin.call(move |conn| work(conn, &inner));
        Ok(worked.await?)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.inner.config.path)
            .field("prefix", &self.inner.config.prefix)
            .finish_non_exhaustive()
    }
}
