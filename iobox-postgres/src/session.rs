//! The session: a connection with a transaction of the store's own or of a handler.
//!
//! The pool of sqlx asks the server for a sign of life whenever it gets a connection back, one round
//! trip for every transaction. Here a connection whose transaction was committed is ready for the next
//! one as it is.

use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iobox_core::{Error, Result};
use sqlx::{Connection, PgConnection, SqlSafeStr as _, SqlStr};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    error::from_sqlx,
    pool::{Connector, IDLE_UNTESTED_MAX, within},
};

/// A connection that was not used for longer is closed when another one comes back.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A connection that is older is not used again.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// The sessions of a store: at most a fixed number at the same time.
pub(crate) struct Sessions {
    connector: Connector,
    free: Arc<Semaphore>,
    ready: Mutex<Vec<Ready>>,
    patience: Duration,
    /// How long the server may take to end a transaction.
    ending: Duration,
}

/// A connection without a transaction.
struct Ready {
    connection: PgConnection,
    opened: Instant,
    since: Instant,
}

/// An open transaction on a connection of the store's own. Dropping it rolls back.
pub struct Session {
    /// Not there once it has ended.
    held: Option<(PgConnection, Instant)>,
    sessions: Arc<Sessions>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Sessions {
    /// Opens nothing yet. Whoever wants a session when `most` are open waits for `patience`, and then as
    /// long for the server; it may take `ending` to commit.
    pub(crate) fn new(
        connector: Connector,
        most: u32,
        patience: Duration,
        ending: Duration,
    ) -> Self {
        Self {
            ending,
            connector,
            free: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))),
            ready: Mutex::default(),
            patience,
        }
    }

    /// Opens a transaction, with `begin` instead of a plain BEGIN if there is one.
    ///
    /// Only for tasks that nobody can cancel: a connection whose BEGIN was cut off is closed, which
    /// costs another one.
    pub(crate) async fn begin(
        self: Arc<Self>,
        doing: &'static str,
        begin: Option<SqlStr>,
    ) -> Result<Session> {
        let failed = |source| from_sqlx(doing, source);
        let permit = timeout(self.patience, Arc::clone(&self.free).acquire_owned())
            .await
            .map_err(|_| failed(sqlx::Error::PoolTimedOut))?
            .map_err(|_| failed(sqlx::Error::PoolClosed))?;
        let begin = begin.unwrap_or_else(|| "begin".into_sql_str());
        let (begun, connection, opened) = match self.take().await {
            Some((mut connection, opened)) => {
                let begun = within(self.patience, run(&mut connection, begin)).await;
                (begun, connection, opened)
            }
            None => {
                let mut connection = self.connector.connect().await?;
                let begun = within(self.patience, begin_first(&mut connection, begin)).await;
                (begun, connection, Instant::now())
            }
        };
        begun.map_err(failed)?;
        Ok(Session {
            held: Some((connection, opened)),
            sessions: self,
            permit: Some(permit),
        })
    }

    /// Bounds a transaction of the store's own by the time that its end may take. It is rolled back then,
    /// unless the server has committed it.
    pub(crate) async fn bound<T>(
        &self,
        doing: &'static str,
        transaction: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let ended = within(self.ending, async { Ok(transaction.await) }).await;
        ended.map_err(|source| from_sqlx(doing, source))?
    }

    /// Closes what is ready, and everything else when it comes back.
    pub(crate) fn close(&self) {
        self.free.close();
        self.ready().clear();
    }

    async fn take(&self) -> Option<(PgConnection, Instant)> {
        loop {
            let mut one = self.ready().pop()?;
            if one.opened.elapsed() > AGE_MAX {
                continue;
            }
            if one.since.elapsed() <= IDLE_UNTESTED_MAX
                || within(self.patience, one.connection.ping()).await.is_ok()
            {
                return Some((one.connection, one.opened));
            }
        }
    }

    fn put_back(&self, connection: PgConnection, opened: Instant) {
        let mut ready = self.ready();
        ready.retain(|one| one.since.elapsed() <= IDLE_MAX);
        if !self.free.is_closed() {
            ready.push(Ready {
                connection,
                opened,
                since: Instant::now(),
            });
        }
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Commits. Only for tasks that nobody can cancel.
    pub(crate) async fn commit(mut self, doing: &'static str) -> Result<()> {
        let Some((mut connection, opened)) = self.held.take() else {
            return Err(Error::internal("the session has ended"));
        };
        let ending = self.sessions.ending;
        within(ending, run(&mut connection, "commit".into_sql_str()))
            .await
            .map_err(|source| from_sqlx(doing, source))?;
        self.sessions.put_back(connection, opened);
        Ok(())
    }

    /// Rolls back.
    pub(crate) async fn roll_back(mut self) {
        if let Some((connection, opened)) = self.held.take() {
            roll_back(&self.sessions, connection, opened).await;
        }
    }
}

/// Rolls back; a connection that fails is closed, and its transaction ended by the server.
async fn roll_back(sessions: &Sessions, mut connection: PgConnection, opened: Instant) {
    let rolled_back = run(&mut connection, "rollback".into_sql_str());
    let rolled_back = within(sessions.patience, rolled_back).await;
    if rolled_back.is_ok() {
        sessions.put_back(connection, opened);
    }
}

/// Opens the first transaction of a connection and leaves it open: sqlx counts it for ever, so that
/// what a handler begins inside of it, and of those that follow, is a savepoint.
async fn begin_first(connection: &mut PgConnection, begin: SqlStr) -> sqlx::Result<()> {
    mem::forget(connection.begin_with(begin).await?);
    Ok(())
}

async fn run(connection: &mut PgConnection, statement: SqlStr) -> sqlx::Result<()> {
    sqlx::raw_sql(statement).execute(connection).await?;
    Ok(())
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.held {
            Some((connection, _)) => connection,
            None => unreachable!("what ends a session takes it"),
        }
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.held {
            Some((connection, _)) => connection,
            None => unreachable!("what ends a session takes it"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some((connection, opened)), Ok(runtime)) = (self.held.take(), Handle::try_current())
        else {
            // A connection that is closed ends its transaction.
            return;
        };
        let (sessions, permit) = (Arc::clone(&self.sessions), self.permit.take());
        runtime.spawn(async move {
            roll_back(&sessions, connection, opened).await;
            drop(permit);
        });
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
