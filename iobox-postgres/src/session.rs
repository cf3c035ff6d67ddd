//! The session: a connection with a transaction of the store's own or of a handler.
//!
//! The pool of sqlx asks the server for a sign of life whenever it gets a connection back, one round
//! trip for every transaction. Here a connection whose transaction was committed is ready for the next
//! one as it is; and when somebody waits for a transaction, it is opened in the message that commits.

use std::{
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use iobox_core::{Error, Result, store::Settled};
use sqlx::{Connection, PgConnection, SqlSafeStr as _, SqlStr};
use tokio::{
    runtime::Handle,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout},
};

use crate::{
    depth,
    error::from_sqlx,
    pool::{Connector, IDLE_UNTESTED_MAX, within},
    sql::{MarkSql, Statement},
};

/// A connection that was not used for longer is closed when another one comes back.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A connection that is older is not used again.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// The sessions of a store: at most a fixed number at the same time.
pub(crate) struct Sessions {
    connector: Connector,
    /// What every connection prepares.
    prepare: Statement,
    free: Arc<Semaphore>,
    ready: Mutex<Vec<Ready>>,
    /// Who waits for a plain transaction, beside waiting for a free place: first come, first served.
    line: Mutex<VecDeque<oneshot::Sender<Session>>>,
    /// How many wait for a free place alone, to open a transaction of another kind.
    others: AtomicUsize,
    patience: Duration,
    /// How long the server may take to end a transaction.
    ending: Duration,
}

/// The turn of whoever waited for a session.
enum Turn {
    Begun(Session),
    Free(OwnedSemaphorePermit),
}

/// Counts one who waits for as long as it is held.
struct Waiting<'a>(&'a AtomicUsize);

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
        prepare: Statement,
        most: u32,
        patience: Duration,
        ending: Duration,
    ) -> Self {
        Self {
            ending,
            connector,
            prepare,
            free: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))),
            ready: Mutex::default(),
            line: Mutex::default(),
            others: AtomicUsize::new(0),
            patience,
        }
    }

    /// Opens a plain transaction, or takes one that was opened behind a COMMIT.
    pub(crate) async fn begin_plain(self: &Arc<Self>, doing: &'static str) -> Result<Session> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match self.in_time(doing, self.stand_in_line()).await? {
                Turn::Begun(session) => return Ok(session),
                Turn::Free(permit) => permit,
            },
        };
        let opening = Arc::clone(self).open(permit, doing, "begin".into_sql_str());
        tokio::spawn(opening).await.map_err(|source| {
            Error::internal("opening a transaction panicked").with_source(source)
        })?
    }

    /// Opens a transaction with `begin` instead of a plain BEGIN.
    ///
    /// Only for tasks that nobody can cancel: a connection whose BEGIN was cut off is closed, which
    /// costs another one.
    pub(crate) async fn begin(
        self: Arc<Self>,
        doing: &'static str,
        begin: SqlStr,
    ) -> Result<Session> {
        let waiting = Waiting::of(&self.others);
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = self.in_time(doing, free).await?;
        drop(waiting);
        self.open(permit, doing, begin).await
    }

    async fn in_time<T>(
        &self,
        doing: &'static str,
        wait: impl Future<Output = Result<T, AcquireError>>,
    ) -> Result<T> {
        timeout(self.patience, wait)
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)
            .and_then(|waited| waited.map_err(|_| sqlx::Error::PoolClosed))
            .map_err(|source| from_sqlx(doing, source))
    }

    /// Waits for a free place, or for a session whose last transaction was committed.
    async fn stand_in_line(&self) -> Result<Turn, AcquireError> {
        let (sender, begun) = oneshot::channel();
        {
            let mut line = self.line();
            while line.pop_front_if(|first| first.is_closed()).is_some() {}
            line.push_back(sender);
        }
        tokio::select! {
            biased;
            Ok(session) = begun => Ok(Turn::Begun(session)),
            permit = Arc::clone(&self.free).acquire_owned() => permit.map(Turn::Free),
        }
    }

    /// The first in line, unless somebody waits who cannot use what is opened for it.
    fn first_in_line(&self) -> Option<oneshot::Sender<Session>> {
        if self.others.load(Ordering::Relaxed) > 0 || self.free.is_closed() {
            return None;
        }
        let mut line = self.line();
        loop {
            let first = line.pop_front()?;
            if !first.is_closed() {
                return Some(first);
            }
        }
    }

    async fn open(
        self: Arc<Self>,
        permit: OwnedSemaphorePermit,
        doing: &'static str,
        begin: SqlStr,
    ) -> Result<Session> {
        let (begun, connection, opened) = match self.take().await {
            Some((mut connection, opened)) => {
                let begun = within(self.patience, run(&mut connection, begin)).await;
                (begun, connection, opened)
            }
            None => {
                let mut connection = self.connector.connect().await?;
                let begun = within(self.patience, self.begin_first(&mut connection, begin)).await;
                (begun, connection, Instant::now())
            }
        };
        begun.map_err(|source| from_sqlx(doing, source))?;
        Ok(Session {
            held: Some((connection, opened)),
            sessions: self,
            permit: Some(permit),
        })
    }

    async fn begin_first(&self, connection: &mut PgConnection, begin: SqlStr) -> sqlx::Result<()> {
        self.prepare.raw().execute(&mut *connection).await?;
        depth::begin_first(connection, begin).await
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

    /// Keeps a connection for the next transaction, unless sqlx counts it wrongly: that one is closed.
    fn put_back(&self, connection: PgConnection, opened: Instant) {
        if !depth::is_that_of_a_session(&connection) {
            return;
        }
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

    fn line(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Session>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// Commits. Only for tasks that nobody can cancel.
    pub(crate) async fn commit(mut self, doing: &'static str) -> Result<()> {
        let (mut connection, opened) = self.take_whole()?;
        let ending = self.sessions.ending;
        within(ending, run(&mut connection, "commit".into_sql_str()))
            .await
            .map_err(|source| from_sqlx(doing, source))?;
        self.sessions.put_back(connection, opened);
        Ok(())
    }

    /// Sends `mark` and COMMIT in one message, and BEGIN behind them when somebody waits for a plain
    /// transaction, who gets this session then. `mark` fails unless it applies, and the server does not
    /// go on behind a failure: nothing is committed. The server may take as long as for a COMMIT. Only for tasks that nobody can cancel.
    pub(crate) async fn mark_and_commit(
        mut self,
        mark: String,
        doing: &'static str,
    ) -> Result<Settled> {
        let (mut connection, opened) = self.take_whole()?;
        let lasts = opened.elapsed() <= AGE_MAX && depth::is_that_of_a_session(&connection);
        let next = lasts.then(|| self.sessions.first_in_line()).flatten();
        let message = Statement::and_commit(mark, next.is_some());
        let ending = self.sessions.ending;
        match within(ending, run(&mut connection, message)).await {
            Ok(()) => match next {
                Some(next) => {
                    self.held = Some((connection, opened));
                    self.hand_over(next).await;
                    // It sends its first statement before this one goes on.
                    tokio::task::yield_now().await;
                }
                None => self.sessions.put_back(connection, opened),
            },
            // Who was first in line waits for a free place.
            Err(source) => {
                let refused = MarkSql::refusal(&source).ok_or_else(|| from_sqlx(doing, source))?;
                roll_back(&self.sessions, connection, opened).await;
                return Ok(refused);
            }
        }
        Ok(Settled::Applied)
    }

    /// Takes what is held to commit it. A transaction that is over closes its connection instead.
    fn take_whole(&mut self) -> Result<(PgConnection, Instant)> {
        let held = self.held.take();
        let held = held.ok_or_else(|| Error::internal("the session has ended"))?;
        depth::check(&held.0)?;
        Ok(held)
    }

    /// Gives the session to `next`, or to whoever is behind when that one has gone.
    async fn hand_over(mut self, next: oneshot::Sender<Self>) {
        let mut next = Some(next);
        while let Some(first) = next {
            let Err(back) = first.send(self) else { return };
            self = back;
            next = self.sessions.first_in_line();
        }
        self.roll_back().await;
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
