//! The owner: a thread that owns one connection and runs closures on it, one after the other.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use iobox_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Config,
    connection::{self, in_transaction},
};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The other end of an owner thread. When the last clone is dropped the thread finishes what is
/// queued, closes its connection and ends.
#[derive(Clone)]
pub(crate) struct Owner {
    jobs: mpsc::Sender<Job>,
    name: &'static str,
}

impl Owner {
    /// Opens a connection and starts its thread.
    pub(crate) fn start(config: &Config, name: &'static str) -> Result<Self> {
        let conn = connection::open(config)?;
        let (jobs, queue) = mpsc::channel(config.queue);
        let patience = config.busy_timeout;
        thread::Builder::new()
            .name(format!("iobox-sqlite-{name}"))
            .spawn(move || {
                connection::be_patient(patience);
                serve(conn, queue);
            })
            .map_err(|source| {
                Error::unavailable("a thread of the store cannot be started").with_source(source)
            })?;
        Ok(Self { jobs, name })
    }

    /// Runs `work` on the connection and returns what it returned.
    ///
    /// A future that is dropped before there was room in the queue runs nothing. After that the
    /// closure runs to its end all the same: nobody can take it back.
    ///
    /// # Errors
    /// What `work` returned; [`Internal`](iobox_core::ErrorKind::Internal) when it panicked. An
    /// open transaction is rolled back then, and the thread goes on.
    pub(crate) async fn call<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.post(move |conn| {
            let result = guarded(|| work(conn)).unwrap_or_else(|panic| Err(E::from(panic)));
            // Whoever asked may have gone; the work is done all the same.
            drop(reply.send(result));
        })
        .await?;
        answer.await.unwrap_or_else(|_| Err(E::from(self.gone())))
    }

    /// Queues `job`, which tells its end itself; waits for room.
    pub(crate) async fn post(
        &self,
        job: impl FnOnce(&mut Connection) + Send + 'static,
    ) -> Result<()> {
        let job: Job = Box::new(job);
        self.jobs.send(job).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        Error::internal(format!("the thread {:?} of the store is gone", self.name))
    }
}

/// Runs jobs until nobody can send any.
fn serve(mut conn: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        if let Err(panic) = guarded(|| job(&mut conn)) {
            tracing::error!(%panic, "a job of the SQLite store panicked");
        }
        if in_transaction(&conn)
            && let Err(error) = conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "an abandoned transaction cannot be rolled back");
        }
    }
}

/// Runs `work`; a panic becomes an error that names its message, without what a terminal would obey.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        Error::internal(format!(
            "a closure panicked on a thread of the store: {}",
            text(panic.as_ref()).escape_debug()
        ))
    })
}

/// The message of a panic.
fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.name)
    }
}
