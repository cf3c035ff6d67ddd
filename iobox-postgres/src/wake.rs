//! The wake-up: a NOTIFY that is sent only while somebody sleeps.
//!
//! An instance that sleeps LISTENs on one connection and holds the advisory lock K exclusively on
//! another. A writer tries to share K until its COMMIT; when that fails, somebody sleeps, and the
//! writer notifies. When a writer in flight shares K the sleeper does not get it, and looks again
//! soon.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    queue::Queue,
    store::{Armed, WakeUp},
};
use sqlx::{PgConnection, postgres::PgListener};
use tokio::sync::watch;

use crate::{
    error::from_sqlx,
    pool::Connector,
    row::get,
    sql::{Names, WakeSql},
};

/// How long to sleep when every commit notifies.
const SLEEP: Duration = Duration::from_secs(1);
/// How long to sleep when a writer in flight, or another sleeper, holds K.
const NAP: Duration = Duration::from_millis(50);
/// The most pairs of connections that are kept between sleeps.
const KEPT_MAX: usize = 1;

/// The database wake-up of one store. Clones are the same.
#[derive(Clone)]
pub(crate) struct DatabaseWakeUp(Arc<Shared>);

struct Shared {
    connector: Connector,
    sql: WakeSql,
    channel: String,
    /// Sessions without K, whose listeners go on listening.
    kept: Mutex<Vec<Session>>,
    closed: AtomicBool,
}

/// The two connections of a sleeper. Dropping them takes everything back.
struct Session {
    /// Counts notifications; closed when the listener lost its connection.
    notified: watch::Receiver<u64>,
    locker: PgConnection,
}

impl DatabaseWakeUp {
    pub(crate) fn new(connector: Connector, names: &Names) -> Self {
        Self(Arc::new(Shared {
            connector,
            sql: WakeSql::new(names),
            channel: names.channel.clone(),
            kept: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        }))
    }

    /// Closes what is kept, and keeps nothing any more.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.kept().clear();
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Vec<Session>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, session: Session) {
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX && !self.closed.load(Ordering::Acquire) {
            kept.push(session);
        }
    }

    async fn session(&self) -> Result<Session> {
        let kept = self.kept().pop();
        match kept.filter(|session| session.notified.has_changed().is_ok()) {
            Some(session) => Ok(session),
            None => self.open().await,
        }
    }

    async fn open(&self) -> Result<Session> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::unavailable("the store is closed"));
        }
        let locker = self.connector.connect().await?;
        let pool = self.connector.listener_pool();
        let listening = self.connector.answered(async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(&self.channel).await?;
            Ok(listener)
        });
        let listener = listening.await;
        let listener = listener.map_err(|source| from_sqlx("listening for wake-ups", source))?;
        let (count, notified) = watch::channel(0);
        // The listener lives in a task: it is dropped there, inside of the runtime that it needs.
        tokio::spawn(listen(listener, count));
        Ok(Session { notified, locker })
    }
}

/// Counts notifications until the connection is lost or nobody asks any more.
async fn listen(mut listener: PgListener, count: watch::Sender<u64>) {
    loop {
        tokio::select! {
            notification = listener.try_recv() => match notification {
                Ok(Some(_)) => count.send_modify(|count| *count += 1),
                Ok(None) | Err(_) => return,
            },
            () = count.closed() => return,
        }
    }
}

#[async_trait]
impl WakeUp for DatabaseWakeUp {
    async fn arm(&self, _: &Queue) -> Result<Box<dyn Armed>> {
        let mut session = self.0.session().await?;
        // What came before is found by the look that follows.
        session.notified.mark_unchanged();
        let asking = self.0.sql.ask.query().fetch_one(&mut session.locker);
        let row = self.0.connector.answered(asking).await;
        let row = row.map_err(|source| from_sqlx("announcing a sleep", source))?;
        let alone: bool = get(&row, 0)?;
        Ok(Box::new(Sleep {
            session,
            shared: Arc::clone(&self.0),
            at_most: if alone { SLEEP } else { NAP },
        }))
    }
}

/// A sleep that was announced. Dropped, it closes its connections, and K is free.
struct Sleep {
    session: Session,
    shared: Arc<Shared>,
    at_most: Duration,
}

#[async_trait]
impl Armed for Sleep {
    fn at_most(&self) -> Duration {
        self.at_most
    }

    async fn wait(&mut self) {
        // An error says that the listener is gone: nothing will come, so look.
        let _ = self.session.notified.changed().await;
    }

    async fn disarm(self: Box<Self>) {
        let Self {
            mut session,
            shared,
            ..
        } = *self;
        let giving = shared.sql.give_back.query().execute(&mut session.locker);
        match shared.connector.answered(giving).await {
            Ok(_) => shared.keep(session),
            Err(source) => {
                tracing::debug!(error = %source, "closing a connection that cannot give K back");
            }
        }
    }
}

impl fmt::Debug for DatabaseWakeUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseWakeUp")
            .field("channel", &self.0.channel)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("at_most", &self.at_most)
            .finish_non_exhaustive()
    }
}
