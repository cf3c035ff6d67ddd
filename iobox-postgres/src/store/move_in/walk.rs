//! The walk: through a table in batches, each a transaction, until nothing more is found.

use std::sync::Arc;

use iobox_core::{Error, ErrorKind, Result, queue::Queue};
use sqlx::PgConnection;

use super::{MoveIn, MovedIn, MovedTable, theirs::Theirs};
use crate::{
    error::from_sqlx,
    row::get,
    sql::{MoveSql, Names},
    store::PostgresStore,
};

/// What is being done, for errors.
const DOING: &str = "moving rows in";
/// The most bytes of payloads of one transaction, but for a single row that is larger.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often a batch is run again after a conflict.
const TRIES_MAX: usize = 10;
/// How many walks may find nothing while the table is not empty.
const IDLE_MAX: usize = 10;

pub(super) fn failed(source: sqlx::Error) -> Error {
    let code = source
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| code == "42703") {
        return Error::invalid(
            "a column of go-iobox's tables is not there; let its own migrations run first",
        );
    }
    from_sqlx(DOING, source)
}

/// A table to move from.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) options: MoveIn,
    pub(super) sql: MoveSql,
    pub(super) is_outbox: bool,
}

/// Where a walk is: behind this row.
#[derive(Debug, Clone)]
struct Place {
    at: String,
    id: String,
    handler: String,
}

/// A batch that was moved; without a place to go on from, it is the last of its walk.
struct Batch {
    moved: MovedTable,
    next: Option<Place>,
}

impl PostgresStore {
    /// Moves the rows of go-iobox's tables, which must be in the database of this store, into ours.
    ///
    /// Each batch is one transaction that copies rows and removes them from their table, so that a row is
    /// in one place at any moment, whatever crashes; run it again to go on. First come the rows that are
    /// not done, then those that are. Within them the order is that of `created_at`, then of the id. It
    /// returns when a walk through the table found nothing to move.
    ///
    /// | status | becomes |
    /// |---|---|
    /// | none | pending |
    /// | `progress` | pending, with an unknown outcome; see [`MoveIn::take_progress`] |
    /// | `failed` | retrying, with its attempts, its error and its next attempt; pending in the outbox |
    /// | `dead` | dead, with its error, without halting anything |
    /// | `done` | done, settled when it was changed last |
    ///
    /// Received messages are foreign ones, of the source in the options: the rows of one id become one
    /// message with a row for each handler, whose names are the handler keys. The handlers are not
    /// subscribed by this; the inbox that has them does that when it starts.
    ///
    /// A row that cannot be one of ours stays, and is [reported](MovedTable::left): an event type that is
    /// no topic, a handler key that is no name, a payload over the limit, an id that is stored with
    /// another topic or payload. A row that ours had already is removed and counted as
    /// [known](MovedTable::known).
    ///
    /// A worker of go-iobox that runs meanwhile publishes and handles what it had fetched, and so do ours:
    /// stop it first. A writer may go on; what it commits after the last walk stays in its table until
    /// this is run again. When this future is dropped a batch under way goes on to its end.
    ///
    /// ```no_run
    /// use iobox_core::inbox::SourceName;
    /// use iobox_postgres::{MoveIn, PostgresStore};
    ///
    /// # async fn move_all(store: PostgresStore) -> iobox_core::Result<()> {
    /// let report = store.move_in(&MoveIn::new(SourceName::new("orders")?)).await?;
    /// for table in [&report.outbox, &report.inbox].into_iter().flatten() {
    ///     println!("{} moved, {} left", table.moved(), table.left);
    ///     for row in &table.left_rows {
    ///         println!("  {}: {}", row.id, row.reason);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when an option breaks a bound, no table is there, or this store
    /// was not migrated.
    pub async fn move_in(&self, options: &MoveIn) -> Result<MovedIn> {
        self.known(&Queue::Outbox)?;
        let [outbox, inbox] = options.check()?;
        self.info().await?;
        let mut report = MovedIn::default();
        for (is_outbox, table) in [(true, &outbox), (false, &inbox)] {
            let job = Arc::new(Job {
                options: options.clone(),
                sql: MoveSql::new(&Names::new(&self.config), table),
                is_outbox,
            });
            if !self.is_there(&job, table).await? {
                continue;
            }
            let moved = Some(self.move_table(&job).await?);
            if is_outbox {
                report.outbox = moved;
            } else {
                report.inbox = moved;
            }
        }
        if report.outbox.is_none() && report.inbox.is_none() {
            return Err(Error::invalid(format!(
                "neither {outbox} nor {inbox} is in this database; name the schema and the tables of \
                 go-iobox"
            )));
        }
        Ok(report)
    }

    async fn is_there(&self, job: &Job, table: &str) -> Result<bool> {
        let zone = job.sql.zone.query().bind(job.options.time_zone.clone());
        zone.execute(&self.admin_pool).await.map_err(|source| {
            let error = failed(source);
            if error.kind() == ErrorKind::Rejected {
                return Error::invalid("time_zone is none that the server knows")
                    .with_source(error);
            }
            error
        })?;
        let there = job.sql.there.query().bind(table.to_owned());
        let row = there.fetch_one(&self.admin_pool).await.map_err(failed)?;
        get(&row, 0)
    }

    /// Walks through a table until nothing more is found.
    async fn move_table(&self, job: &Arc<Job>) -> Result<MovedTable> {
        let mut moved = MovedTable::default();
        let mut idle = 0;
        loop {
            let before = moved.moved();
            for done_too in [false, true] {
                moved.forget_left();
                self.walk(job, done_too, &mut moved).await?;
            }
            let count = job.sql.count.query().fetch_one(&self.admin_pool).await;
            let count: i64 = get(&count.map_err(failed)?, 0)?;
            moved.remaining = u64::try_from(count).unwrap_or_default();
            if moved.moved() > before {
                idle = 0;
            } else {
                idle += 1;
            }
            // A row that somebody changed while it was picked may have been passed over, and so may one
            // that was committed late.
            if idle > 0 && (moved.remaining <= moved.left || idle >= IDLE_MAX) {
                return Ok(moved);
            }
        }
    }

    async fn walk(&self, job: &Arc<Job>, done_too: bool, moved: &mut MovedTable) -> Result<()> {
        let mut next = Some(Place {
            at: "-infinity".into(),
            id: String::new(),
            handler: String::new(),
        });
        while let Some(place) = next {
            let (this, job) = (self.clone(), Arc::clone(job));
            // A begin of sqlx 0.9.0 that is cancelled leaves its connection in an open transaction.
            let running = tokio::spawn(async move {
                let mut tries = 1;
                loop {
                    match this.batch(&job, &place, done_too).await {
                        Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                            tries += 1;
                        }
                        batch => return batch,
                    }
                }
            });
            let batch = running
                .await
                .map_err(|source| Error::internal("moving in panicked").with_source(source))??;
            moved.add(&batch.moved);
            for row in batch.moved.left_rows {
                moved.leave(row);
            }
            next = batch.next;
        }
        Ok(())
    }

    /// Moves the rows behind `place`, as many as a transaction takes.
    async fn batch(&self, job: &Job, place: &Place, done_too: bool) -> Result<Batch> {
        let mut tx = self.begin_own(DOING).await?;
        let picked = self.pick(&mut tx, job, place, done_too).await?;
        let mut moved = MovedTable::default();
        let next = picked.last().map(|row| Place {
            at: row.at.clone(),
            id: row.id.clone(),
            handler: row.handler.clone().unwrap_or_default(),
        });
        let mut taken = Vec::with_capacity(picked.len());
        for row in picked {
            match row.take(&job.options, self.config.limits) {
                Ok(row) => taken.push(row),
                Err(left) => moved.left_rows.push(left),
            }
        }
        if !taken.is_empty() {
            if job.is_outbox {
                self.take_outbox(&mut tx, job, taken, &mut moved).await?;
            } else {
                self.take_inbox(&mut tx, job, taken, &mut moved).await?;
            }
        }
        tx.commit(DOING).await?;
        if moved.moved() > 0 {
            self.signal.wake();
        }
        Ok(Batch { moved, next })
    }

    /// Locks the next rows; the last ones are passed over when all together are too large.
    async fn pick(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        place: &Place,
        done_too: bool,
    ) -> Result<Vec<Theirs>> {
        let (at, id) = (place.at.clone(), place.id.clone());
        let limit = i64::from(job.options.batch);
        let query = if job.is_outbox {
            let query = job.sql.pick_outbox.query();
            query.bind(done_too).bind(at).bind(id).bind(limit)
        } else {
            let query = job.sql.pick_inbox.query().bind(done_too).bind(at);
            query.bind(id).bind(place.handler.clone()).bind(limit)
        };
        let rows = query.fetch_all(&mut *tx).await.map_err(failed)?;
        let mut picked = Vec::with_capacity(rows.len());
        let mut bytes = 0_usize;
        for row in &rows {
            let row = Theirs::read(row)?;
            bytes = bytes.saturating_add(row.bytes(self.config.limits));
            if bytes > BATCH_BYTES && !picked.is_empty() {
                break;
            }
            picked.push(row);
        }
        Ok(picked)
    }
}

/// Refuses to commit when a statement changed another number of rows than it was given.
pub(super) fn all(changed: u64, given: usize) -> Result<()> {
    if usize::try_from(changed) == Ok(given) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "moving rows in changed {changed} rows of {given}; nothing of this batch was moved"
    )))
}
