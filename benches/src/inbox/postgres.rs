//! The inbox and the bare loop on Postgres.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use iobox::{
    Router,
    handler::{self, HandlerError, TxHandler},
    message::Message,
    postgres::{Config, PostgresStore},
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    Args, bare,
    measure::Round,
    rate::{Count, HANDLER, TOPIC, handle, ingest},
};
use crate::{relay::PARTITIONS, schema::Schema};

/// The tables that are written.
const TABLES: [&str; 2] = ["inbox", "received"];

/// Inserts one row.
struct Effect {
    statement: Arc<str>,
    count: Count,
}

#[async_trait]
impl TxHandler<PgConnection> for Effect {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        sqlx::query(AssertSqlSafe(Arc::clone(&self.statement)))
            .bind(message.id().as_str())
            .execute(tx)
            .await?;
        self.count.one();
        Ok(())
    }
}

/// Measures each of them once, each on tables of its own.
pub(super) async fn round(args: &Args) -> Result<Round> {
    let (ingested, plain) = Schema::with(PARTITIONS, true, |schema| plain(args, schema)).await?;
    let (again, transactional, bare) =
        Schema::with(PARTITIONS, true, |schema| transactional(args, schema)).await?;
    Ok(Round {
        ingest: (ingested + again) / 2,
        plain,
        transactional,
        bare,
    })
}

async fn plain(args: &Args, mut schema: Schema) -> Result<(Duration, Duration)> {
    let store = PostgresStore::clone(&*schema.store().await?);
    let ingested = ingest(&store, args).await?;
    schema.settle_down(&TABLES).await?;
    let count = Count::new(args.messages);
    let mut router = Router::new();
    let counter = count.clone();
    let counting = handler::from_fn(move |_| {
        counter.one();
        async { Ok(()) }
    });
    router.on(TOPIC, HANDLER, counting);
    let handled = handle(&store, router, count).await?;
    store.close().await;
    Ok((ingested, handled))
}

async fn transactional(args: &Args, mut schema: Schema) -> Result<(Duration, Duration, Duration)> {
    let (known, effect) = (schema.table("bare"), schema.table("effect"));
    schema
        .run(format!("create table {effect} (id text not null)"))
        .await?;
    schema
        .run(format!(
            "create table {known} (source text, id text, primary key (source, id))"
        ))
        .await?;
    let statements = bare::Statements {
        known: format!("insert into {known} values ('bench', $1) on conflict do nothing").into(),
        effect: format!("insert into {effect} values ($1)").into(),
    };
    let store = PostgresStore::clone(&*schema.store().await?);
    let ingested = ingest(&store, args).await?;
    schema.settle_down(&TABLES).await?;
    let count = Count::new(args.messages);
    let mut router = Router::new();
    let statement = Arc::clone(&statements.effect);
    router.on_tx(
        TOPIC,
        HANDLER,
        Effect {
            statement,
            count: count.clone(),
        },
    );
    let handled = handle(&store, router, count).await?;
    store.close().await;
    effects(args, &mut schema, 1).await?;

    schema.settle_down(&TABLES).await?;
    let mut connections = Vec::new();
    for _ in 0..Config::POOL_SIZE {
        connections.push(schema.connect().await?);
    }
    let bare = bare::postgres(connections, &statements, args.messages).await?;
    effects(args, &mut schema, 2).await?;
    Ok((ingested, handled, bare))
}

/// Fails unless every message took effect so many times.
async fn effects(args: &Args, schema: &mut Schema, times: usize) -> Result<()> {
    let table = schema.table("effect");
    let found = schema
        .number(format!("select count(*) from {table}"))
        .await?;
    ensure!(found == args.messages * times, "{found} effects");
    Ok(())
}
