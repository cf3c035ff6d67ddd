//! The store: what a relay asks of it, each call one transaction on the table and its file.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use iobox::{
    Error, Result,
    message::IdSource as _,
    message::RandomIds,
    partition::Partitions,
    queue::Queue,
    store::{
        AcquireRequest, Acquired, FetchRequest, Fetched, ReleaseRequest, RenewRequest, Renewed,
        Settled, Settlement, Signal, Store, StoreInfo, WakeUp,
    },
};

use super::{
    journal::Journal,
    slip::Slip,
    table::{Born, Change, Edit, Table},
};

/// The version of the file that this program knows.
const VERSION: u32 = 1;

/// An outbox in a file. Clones are the same store; another process is locked out.
#[derive(Clone)]
pub(crate) struct FileStore {
    pub(super) inner: Arc<Mutex<Inner>>,
    pub(super) partitions: Partitions,
    pub(super) signal: Signal,
}

/// The file and what it adds up to, under one lock: transactions come one after the other.
pub(super) struct Inner {
    journal: Journal,
    table: Table,
    /// How far tests have shifted the clock.
    pub(super) shift: Duration,
}

impl FileStore {
    /// Opens the file at `path`, or makes an empty one, which [`migrate`](Self::migrate) sets up.
    pub(crate) fn open(path: &Path, partitions: Partitions) -> Result<Self> {
        Self::with(path, partitions, Slip::None)
    }

    /// The same with a mistake.
    pub(crate) fn with(path: &Path, partitions: Partitions, slip: Slip) -> Result<Self> {
        let mut journal = Journal::open(path)?;
        let table = journal.read(slip)?;
        let shift = Duration::ZERO;
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner {
                journal,
                table,
                shift,
            })),
            partitions,
            signal: Signal::new(),
        })
    }

    /// Sets the file up, if nobody has.
    pub(crate) async fn migrate(&self) -> Result<()> {
        self.set_up(VERSION).await
    }

    pub(super) async fn set_up(&self, version: u32) -> Result<()> {
        let partitions = self.partitions.count();
        self.run(move |edit, _| {
            if edit.born.is_none() {
                let origin = RandomIds.draw().as_u128();
                edit.make(Change::Born(Born {
                    version,
                    origin,
                    partitions,
                }));
            }
            Ok(())
        })
        .await
    }

    /// Runs a transaction: `work` sees the table and the time, and what it changes counts when it is
    /// in the file. On a thread of its own, since a disk can take its time, and so that a caller who
    /// gives up leaves it done or not done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Edit<'_>, Duration) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        let run = move || {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.run(work)
        };
        let ended = tokio::task::spawn_blocking(run).await;
        ended.unwrap_or_else(|error| {
            Err(Error::internal("a transaction panicked").with_source(error))
        })
    }

    /// Refuses a queue that this store does not have.
    pub(super) fn known(&self, queue: &Queue) -> Result<()> {
        if *queue == Queue::Outbox {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "this store has no queue {queue}, only an outbox"
        )))
    }
}

/// Refuses a file that this program must not write into.
pub(super) fn fits(edit: &Edit<'_>, configured: Partitions) -> Result<()> {
    let Some(born) = edit.born else {
        return Err(Error::invalid("the file is empty; run migrate"));
    };
    if born.version > VERSION {
        return Err(Error::invalid(format!(
            "the file has version {}; this program knows {VERSION}: update it",
            born.version
        )));
    }
    if born.partitions != configured.count() {
        return Err(Error::invalid(format!(
            "the file has {} partitions, the program is configured with {}",
            born.partitions,
            configured.count()
        )));
    }
    Ok(())
}

impl Inner {
    fn run<T>(&mut self, work: impl FnOnce(&mut Edit<'_>, Duration) -> Result<T>) -> Result<T> {
        let now = self.now();
        let mut edit = Edit::new(&mut self.table);
        let result = work(&mut edit, now);
        let changes = edit.changes;
        let written = match &result {
            Ok(_) if changes.is_empty() => return result,
            Ok(_) => self.journal.append(&changes),
            Err(_) => Ok(()),
        };
        if written.is_err() || (result.is_err() && !changes.is_empty()) {
            // The file is the truth: forget what memory has beyond it.
            self.table = self.journal.read(self.table.slip)?;
        }
        written.and(result)
    }

    /// The clock that stands for the database's: of this machine, since the file has no server.
    #[allow(
        clippy::disallowed_methods,
        reason = "the store is where a clock belongs"
    )]
    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default() + self.shift
    }
}

#[async_trait]
impl Store for FileStore {
    async fn open(&self, queue: &Queue) -> Result<StoreInfo> {
        self.known(queue)?;
        let configured = self.partitions;
        self.run(move |edit, _| {
            fits(edit, configured)?;
            Ok(StoreInfo {
                origin: edit.origin(),
                partitions: configured,
            })
        })
        .await
    }

    async fn renew(&self, request: &RenewRequest) -> Result<Renewed> {
        self.known(&request.queue)?;
        let request = request.clone();
        self.run(move |edit, now| Ok(edit.renew(&request, now)))
            .await
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Acquired> {
        self.known(&request.queue)?;
        let request = request.clone();
        self.run(move |edit, now| Ok(edit.acquire(&request, now)))
            .await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<()> {
        self.known(&request.queue)?;
        let request = request.clone();
        let give_back = move |edit: &mut Edit<'_>, _| {
            edit.give_back(&request);
            Ok(())
        };
        self.run(give_back).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched> {
        self.known(&request.queue)?;
        let request = request.clone();
        self.run(move |edit, now| Ok(edit.fetch(&request, now)))
            .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let settlements = settlements.to_vec();
        self.run(move |edit, now| Ok(edit.settle(&settlements, now)))
            .await
    }

    fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Nobody else can write into the file: the signal is enough.
    fn wake_up(&self) -> Option<Arc<dyn WakeUp>> {
        None
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("partitions", &self.partitions.count())
            .finish_non_exhaustive()
    }
}
