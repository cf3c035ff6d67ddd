//! An order service on Postgres, whose messages go to NATS JetStream.
//!
//! Run it with `DATABASE_URL=postgres://… NATS_URL=nats://localhost cargo run -p orders_postgres_nats`,
//! against a server that was started with `nats-server -js`. It makes its tables in the schema that
//! `IOBOX_SCHEMA` names, by default `orders_example`, and a stream of that name, and leaves them there.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use iobox::{
    Outbox, Relay,
    message::Message,
    nats::{self, JetStreamPublisher, StreamSettings},
    postgres::{self, PostgresStore},
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};

/// How many accounts there are, each with this many orders.
const ACCOUNTS: i32 = 5;
const ORDERS: i32 = 20;

/// The payload of a message.
#[derive(Debug, Serialize, Deserialize)]
struct OrderPlaced {
    account: i32,
    /// Which of the account's orders it is, over all runs.
    number: i32,
}

/// The first of these variables that is set.
fn setting(names: [&str; 2]) -> Result<String> {
    let mut values = names.iter().filter_map(|name| env::var(name).ok());
    values.next().with_context(|| format!("set {}", names[1]))
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = setting(["IOBOX_TEST_POSTGRES_URL", "DATABASE_URL"])?;
    let broker = setting(["IOBOX_TEST_NATS_URL", "NATS_URL"])?;
    let schema = env::var("IOBOX_SCHEMA").unwrap_or_else(|_| String::from("orders_example"));
    let store = postgres::Config::builder().schema(&schema).build()?;
    let stream = nats::Config::builder(&broker, &schema).prefix(&schema);
    let stream = stream.create_stream(StreamSettings::new()).build()?;

    // The two lines that choose the backends; nothing below would change for others but SQL.
    let store = PostgresStore::connect_url(&database, store).await?;
    let publisher = JetStreamPublisher::new(stream);

    store.migrate().await?;
    let pool = PgPool::connect(&database).await?;
    let accounts = format!("{schema}.accounts");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {accounts} (id int PRIMARY KEY, orders int NOT NULL);
         INSERT INTO {accounts} SELECT id, 0 FROM generate_series(1, {ACCOUNTS}) id
         ON CONFLICT DO NOTHING;"
    )))
    .execute(&pool)
    .await?;

    let relay = Relay::builder(store.clone(), publisher);
    let relay = relay.build()?.spawn();

    // One task for each order, all at once: the account's row lock puts those of an account in order.
    let outbox = Outbox::new(store.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for order in 0..ACCOUNTS * ORDERS {
        let (pool, outbox, accounts) = (pool.clone(), outbox.clone(), accounts.clone());
        tasks.spawn(async move { place(&pool, &outbox, &accounts, 1 + order % ACCOUNTS).await });
    }
    while let Some(placed) = tasks.join_next().await {
        placed?.context("an order could not be placed")?;
    }
    let published = relay.wait_until_empty(Duration::from_secs(30)).await;
    // First, since it knows the reason if it failed.
    relay.drain().await.context("the relay failed")?;
    published?;

    let mut last: HashMap<i32, i32> = HashMap::new();
    for order in read(&broker, &schema).await? {
        let before = last.insert(order.account, order.number).unwrap_or(0);
        let (account, number) = (order.account, order.number);
        ensure!(number == before + 1, "{account}: {number} after {before}");
    }
    let placed = format!("SELECT sum(orders) FROM {accounts}");
    let placed = sqlx::query_scalar(AssertSqlSafe(placed));
    let placed: i64 = placed.fetch_one(&pool).await?;
    ensure!(last.values().copied().map(i64::from).sum::<i64>() == placed);
    println!(
        "{} orders of {ACCOUNTS} accounts were placed at once, in schema {schema}.",
        ACCOUNTS * ORDERS
    );
    println!("  ok  every one is in JetStream, and those of an account in order");
    println!("  ok  the relay has drained");
    pool.close().await;
    store.close().await;
    Ok(())
}

/// Charges the account and announces the order, both or neither.
async fn place(
    pool: &PgPool,
    outbox: &Outbox<PostgresStore>,
    accounts: &str,
    account: i32,
) -> Result<()> {
    let mut tx = pool.begin().await?;
    let charge =
        format!("UPDATE {accounts} SET orders = orders + 1 WHERE id = $1 RETURNING orders");
    let charge = sqlx::query_scalar(AssertSqlSafe(charge)).bind(account);
    let number = charge.fetch_one(&mut *tx).await?;
    let draft = Message::json("orders.placed", &OrderPlaced { account, number })?.key(account);
    outbox.enqueue(&mut tx, draft).await?;
    tx.commit().await?;
    outbox.wake();
    Ok(())
}

/// Reads the whole stream, as a consumer in any language would.
async fn read(url: &str, stream: &str) -> Result<Vec<OrderPlaced>> {
    let context = async_nats::jetstream::new(async_nats::connect(url).await?);
    let stream = context.get_stream(stream).await?;
    let count = usize::try_from(stream.cached_info().state.messages)?;
    let consumer = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let messages = stream.create_consumer(consumer).await?.messages().await?;
    let orders = messages
        .take(count)
        .map(|message| serde_json::from_slice(&message?.payload).context("no order"));
    orders.collect::<Vec<_>>().await.into_iter().collect()
}
