//! The handle: the store's parts, and how it is opened.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, FetchRequest, Fetched, ReleaseRequest, RenewRequest, Renewed,
        Settled, Settlement, Signal, Store, StoreInfo, WakeUp,
    },
};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::{Mutex, OnceCell};

use super::{hint::Hints, inbox::Routing, lease::ShortestLease, waiting::Sweeps};
use crate::{
    Config,
    error::from_sqlx,
    pool::Connector,
    session::Sessions,
    sql::{MarkSql, Names, Shelf, Sql},
    wake::DatabaseWakeUp,
};

/// The longest duration that is added to the clock of the database.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A [`Store`] in Postgres.
///
/// It has connections of its own ([`Config::connections_max`] at most) and never touches the
/// caller's but to enqueue. Every call may be dropped: its statements are autocommitted, each done or
/// not done, and may be repeated. Clones are the same store.
#[derive(Clone)]
pub struct PostgresStore {
    pub(super) config: Arc<Config>,
    pub(super) connector: Connector,
    pub(super) sql: Arc<Sql>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) pool: PgPool,
    pub(super) admin_pool: PgPool,
    /// The connections of transactions: of handlers and of receptions. None of the other calls borrows
    /// one, and none of these is opened but by a task that nobody can cancel.
    pub(super) sessions: Arc<Sessions>,
    /// The subscriptions as they were last read.
    pub(super) routing: Arc<Routing>,
    /// The connection that renews, so that a busy pool cannot delay a renewal.
    pub(super) renewals: Arc<Mutex<Option<PgConnection>>>,
    pub(super) info: Arc<OnceCell<StoreInfo>>,
    pub(super) sweeps: Arc<Sweeps>,
    pub(super) hints: Arc<Hints>,
    /// The shortest lease that anything of this program has.
    pub(super) shortest_lease: Arc<ShortestLease>,
    pub(super) signal: Signal,
    pub(super) wake_up: Option<DatabaseWakeUp>,
}

impl PostgresStore {
    /// Connects with the caller's options, and proves it with one connection.
    ///
    /// Nothing is read or written; [`migrate`](Self::migrate) or [`verify`](Self::verify) comes
    /// next.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) for another host without verified TLS, for wrong
    /// credentials, and for Postgres before 15;
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the server does not answer.
    pub async fn connect(options: PgConnectOptions, config: Config) -> Result<Self> {
        let connector = Connector::new(options, &config)?;
        let names = Names::new(&config);
        let store = Self {
            sql: Arc::new(Sql::new(&names)),
            shelf: Arc::new(Shelf::outbox()),
            routing: Arc::default(),
            sessions: Arc::new(connector.sessions(&config, MarkSql::prepare(&names))),
            pool: connector.pool(&config),
            admin_pool: connector.admin_pool(&config),
            renewals: Arc::default(),
            info: Arc::default(),
            sweeps: Arc::default(),
            hints: Arc::default(),
            shortest_lease: Arc::new(ShortestLease::new(config.idle_in_transaction_timeout)),
            signal: Signal::new(),
            wake_up: config
                .wake_up
                .then(|| DatabaseWakeUp::new(connector.clone(), &names)),
            connector,
            config: Arc::new(config),
        };
        let connection = store.connector.connect().await?;
        connection
            .close()
            .await
            .map_err(|source| from_sqlx("closing a connection", source))?;
        Ok(store)
    }

    /// Connects with a URL `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// A parameter that the driver does not know is ignored, with a warning that does not show it.
    /// (Options that are parsed by sqlx itself have written the name and value of such a parameter into
    /// the log of the target `sqlx_postgres::options::parse` at WARN.)
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) for a URL that cannot be read (the error does not
    /// repeat it, since it may hold a password), and as for [`connect`](Self::connect).
    pub async fn connect_url(url: &str, config: Config) -> Result<Self> {
        Self::connect(crate::url::read(url)?, config).await
    }

    /// Closes every connection. Calls that come later fail with
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable).
    pub async fn close(&self) {
        self.pool.close().await;
        self.admin_pool.close().await;
        self.sessions.close();
        self.renewals.lock().await.take();
        if let Some(wake_up) = &self.wake_up {
            wake_up.close();
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) const fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn sql(&self) -> &Sql {
        &self.sql
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The name of `queue`, which must be the one that this store is of.
    pub(super) fn known(&self, queue: &Queue) -> Result<&str> {
        if queue.name() == self.shelf.queue {
            return Ok(&self.shelf.queue);
        }
        Err(Error::invalid(format!(
            "queue {queue} is not that of this store, which is {}; `queue_of` gives the store of a handler",
            self.shelf.queue
        )))
    }

    /// The same connections, signal and clock, for the rows of another queue. Nothing of another
    /// process wakes it.
    pub(super) fn another(&self, shelf: Shelf) -> Self {
        let names = Names::new(&self.config).of(shelf.clone());
        Self {
            sql: Arc::new(Sql::new(&names)),
            sweeps: Arc::default(),
            hints: Arc::default(),
            wake_up: None,
            shelf: Arc::new(shelf),
            ..self.clone()
        }
    }

    /// What [`verify`](Self::verify) found the first time.
    pub(super) async fn info(&self) -> Result<StoreInfo> {
        self.info.get_or_try_init(|| self.verify()).await.copied()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connect options print their password.
        f.debug_struct("PostgresStore")
            .field("config", &self.config)
            .field("info", &self.info.get())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.known(queue)?;
        self.verify().await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.renew_instance(request).await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.acquire_partitions(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.release_partitions(request).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        self.fetch_due(request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        self.settle_all(settlements).await
    }

    /// One connection stays for a fetch; one that clears has the place of a settle.
    fn settles_at_once(&self) -> usize {
        usize::try_from(self.config.pool_size.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn signal(&self) -> &Signal {
        &self.signal
    }

    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        self.wake_up
            .as_ref()
            .map(|wake_up| Arc::new(wake_up.clone()) as Arc<dyn WakeUp>)
    }
}

/// A duration as the statements take it, in microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.min(DURATION_MAX).as_micros()).unwrap_or(i64::MAX)
}

/// A size as the statements take it.
pub(super) fn bound(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).min(1 << 40)
}
