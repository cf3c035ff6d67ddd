//! The bare loop: a row that knows the message and a row of effect, in one transaction each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use iobox::sqlite::rusqlite::{Connection, TransactionBehavior};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinSet;

/// The statements of the loop in Postgres.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    /// Inserts the id of a message that is not known.
    pub(super) known: Arc<str>,
    /// Inserts its effect.
    pub(super) effect: Arc<str>,
}

/// Handles `messages` messages on these connections. Returns how long it took.
pub(super) async fn postgres(
    connections: Vec<PgConnection>,
    statements: &Statements,
    messages: usize,
) -> Result<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        let (next, statements) = (Arc::clone(&next), statements.clone());
        tasks.spawn(work(connection, statements, next, messages));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(start.elapsed())
}

async fn work(
    mut connection: PgConnection,
    statements: Statements,
    next: Arc<AtomicUsize>,
    messages: usize,
) -> Result<()> {
    loop {
        let id = next.fetch_add(1, Ordering::Relaxed);
        if id >= messages {
            return Ok(());
        }
        let id = id.to_string();
        let mut tx = connection.begin().await?;
        let known = sqlx::query(AssertSqlSafe(Arc::clone(&statements.known)));
        let new = known.bind(&id).execute(&mut *tx).await?;
        ensure!(new.rows_affected() == 1, "{id} was known");
        let effect = sqlx::query(AssertSqlSafe(Arc::clone(&statements.effect)));
        effect.bind(&id).execute(&mut *tx).await?;
        tx.commit().await?;
    }
}

/// Handles `messages` messages on one connection, since a file has one writer. Returns how long it
/// took.
pub(super) async fn sqlite(mut connection: Connection, messages: usize) -> Result<Duration> {
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        for id in 0..messages {
            let id = id.to_string();
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let new = tx
                .prepare_cached(
                    "insert into bare (source, id) values ('bench', ?1) on conflict do nothing",
                )?
                .execute([&id])?;
            ensure!(new == 1, "{id} was known");
            tx.prepare_cached("insert into effect (id) values (?1)")?
                .execute([&id])?;
            tx.commit()?;
        }
        Ok(start.elapsed())
    })
    .await?
}
