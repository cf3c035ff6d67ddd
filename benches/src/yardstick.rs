//! The yardstick: the least that any relay must do, without leases, order or failures.
//!
//! It reads the oldest pending rows of a partition behind those that it read before, with every column
//! that a relay needs, and marks them as done, on the same table and the same indexes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use iobox::sqlite::rusqlite::{Connection, TransactionBehavior};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::task::JoinSet;

use crate::{file::File, schema::Schema};

/// The rows of one step.
const BATCH: i64 = 1_000;

/// Works `partitions` partitions with `connections` connections. Returns how long it took.
pub(crate) async fn postgres(
    schema: &Schema,
    partitions: u16,
    connections: u32,
) -> Result<Duration> {
    let mut workers = Vec::new();
    for _ in 0..connections {
        let mut connection = schema.connect().await?;
        // As the store does: one plan, over the index.
        sqlx::query(
            "select set_config('plan_cache_mode', 'force_generic_plan', false),
               set_config('enable_seqscan', 'off', false),
               set_config('enable_bitmapscan', 'off', false)",
        )
        .execute(&mut connection)
        .await?;
        workers.push((connection, Vec::new()));
    }
    for partition in 0..i16::try_from(partitions)? {
        let worker = usize::try_from(partition)? % workers.len().max(1);
        let (_, share) = workers.get_mut(worker).context("no connection")?;
        share.push((partition, 0));
    }
    let messages = schema.messages();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (connection, share) in workers {
        tasks.spawn(work(connection, share, messages.clone()));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(start.elapsed())
}

async fn work(
    mut connection: PgConnection,
    mut share: Vec<(i16, i64)>,
    messages: String,
) -> Result<()> {
    let select = format!(
        "select seq, partition, revision, attempt, key, crashes, uncertain, alone, suspect, size,
           (extract(epoch from clock_timestamp() - enqueued_at) * 1000000)::bigint, id, topic,
           headers, payload
         from {messages} where partition = $1 and state = 6 and seq > $2 order by seq limit {BATCH}"
    );
    let update = format!(
        "update {messages} set state = 4, revision = revision + 1, attempt = 1,
           settled_at = clock_timestamp()
         where partition = $1 and seq = any($2)"
    );
    while !share.is_empty() {
        let mut left = Vec::new();
        for (partition, last) in share {
            let rows = sqlx::query(AssertSqlSafe(select.clone()))
                .bind(partition)
                .bind(last)
                .fetch_all(&mut connection)
                .await?;
            if rows.is_empty() {
                continue;
            }
            let mut seqs = Vec::with_capacity(rows.len());
            for row in &rows {
                seqs.push(row.try_get::<i64, _>(0)?);
                black_box(row.try_get::<&[u8], _>(14)?);
            }
            left.extend(seqs.last().map(|&last| (partition, last)));
            sqlx::query(AssertSqlSafe(update.clone()))
                .bind(partition)
                .bind(seqs)
                .execute(&mut connection)
                .await?;
        }
        share = left;
    }
    Ok(())
}

/// Works all partitions of a file with one connection, since a file has one writer. Returns how
/// long it took.
pub(crate) async fn sqlite(file: &File, partitions: u16) -> Result<Duration> {
    let mut connection = file.connect()?;
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let mut share: Vec<u16> = (0..partitions).collect();
        while !share.is_empty() {
            let mut left = Vec::new();
            for partition in share {
                if step(&mut connection, partition)? {
                    left.push(partition);
                }
            }
            share = left;
        }
        Ok(start.elapsed())
    })
    .await?
}

/// Moves one batch. Returns whether there was one.
fn step(connection: &mut Connection, partition: u16) -> Result<bool> {
    let mut select = connection.prepare_cached(
        "select o.seq, revision, attempt, crashes, uncertain, alone, suspect, key, size,
           enqueued_at, id, topic, headers, payload
         from iobox_outbox o join iobox_content c on c.seq = o.seq
         where partition = ?1 and state = 6 order by o.seq limit ?2",
    )?;
    let mut rows = select.query((partition, BATCH))?;
    let mut seqs = Vec::new();
    while let Some(row) = rows.next()? {
        black_box(row.get::<_, Vec<u8>>(13)?);
        seqs.push(row.get::<_, i64>(0)?.to_string());
    }
    drop(rows);
    drop(select);
    if seqs.is_empty() {
        return Ok(false);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.prepare_cached(
        "update iobox_outbox set state = 4, revision = revision + 1, attempt = 1,
           settled_at = cast(unixepoch('subsec') * 1000 as integer)
         where seq in (select value from json_each(?1))",
    )?
    .execute([format!("[{}]", seqs.join(","))])?;
    tx.commit()?;
    Ok(true)
}
