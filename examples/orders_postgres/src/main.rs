//! An order service on Postgres: accounts are charged and orders announced in one transaction.
//!
//! Run it with `DATABASE_URL=postgres://… cargo run -p orders_postgres`. It makes its tables in the
//! schema that `IOBOX_SCHEMA` names, by default `orders_example`, and leaves them there.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use iobox::{
    Outbox, Relay,
    memory::MemoryBroker,
    message::Message,
    postgres::{Config, PostgresStore},
    queue::Queue,
    store::Admin as _,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

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

#[tokio::main]
async fn main() -> Result<()> {
    let url = env::var("IOBOX_TEST_POSTGRES_URL")
        .or_else(|_| env::var("DATABASE_URL"))
        .context("set DATABASE_URL to a Postgres, such as postgres://me@localhost/shop")?;
    let schema = env::var("IOBOX_SCHEMA").unwrap_or_else(|_| String::from("orders_example"));

    // The outbox stands beside the business tables. Building the configuration checks that the
    // schema is a plain identifier, which the statements below rely on.
    let config = Config::builder().schema(&schema).build()?;
    let store = PostgresStore::connect_url(&url, config).await?;
    store.migrate().await?;
    let pool = PgPool::connect(&url).await?;
    let accounts = format!("{schema}.accounts");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {accounts} (id int PRIMARY KEY, orders int NOT NULL);
         INSERT INTO {accounts} SELECT id, 0 FROM generate_series(1, {ACCOUNTS}) id
         ON CONFLICT DO NOTHING;"
    )))
    .execute(&pool)
    .await?;

    // A run that was interrupted may have left messages; this one publishes them first.
    let left = store.stats(&Queue::Outbox).await?.pending;

    let broker = MemoryBroker::new();
    let relay = Relay::builder(store.clone(), broker.clone());
    let relay = relay.build()?.spawn();

    // One task for each order, all at once: the account's row lock puts those of an account in order.
    let outbox = Outbox::new(store.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for order in 0..ACCOUNTS * ORDERS {
        let (pool, outbox, accounts) = (pool.clone(), outbox.clone(), accounts.clone());
        let account = 1 + order % ACCOUNTS;
        tasks.spawn(async move { place(&pool, &outbox, &accounts, account).await });
    }
    while let Some(placed) = tasks.join_next().await {
        placed?.context("an order could not be placed")?;
    }

    // Nobody enqueues any more: everything is published, or it takes too long.
    let published = relay.wait_until_empty(Duration::from_secs(30)).await;
    // First, since it knows the reason if it failed.
    relay.drain().await.context("the relay failed")?;
    published?;
    let expected = usize::try_from(ACCOUNTS * ORDERS)? + usize::try_from(left)?;
    ensure!(
        broker.len() == expected,
        "{} of {expected} messages were published",
        broker.len()
    );

    let mut last: HashMap<i32, i32> = HashMap::new();
    for published in broker.read(0, broker.len()) {
        let order: OrderPlaced = serde_json::from_slice(published.message.payload())?;
        if let Some(before) = last.insert(order.account, order.number) {
            ensure!(
                order.number == before + 1,
                "account {}: order {} was published after order {before}",
                order.account,
                order.number
            );
        }
    }
    let rows = sqlx::query(AssertSqlSafe(format!("SELECT id, orders FROM {accounts}")))
        .fetch_all(&pool)
        .await?;
    for row in rows {
        let (account, orders): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
        ensure!(
            last.get(&account) == Some(&orders),
            "account {account} has {orders} orders, the last one published is {:?}",
            last.get(&account)
        );
    }
    println!(
        "{} orders of {ACCOUNTS} accounts were placed at once, in schema {schema}.",
        ACCOUNTS * ORDERS
    );
    println!("  ok  every one was published, and those of an account in order");
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

    // The row that the ordering key names comes first: its lock is held until COMMIT, and so the
    // messages of the account are enqueued in the order in which they commit.
    let number = sqlx::query_scalar(AssertSqlSafe(format!(
        "UPDATE {accounts} SET orders = orders + 1 WHERE id = $1 RETURNING orders"
    )))
    .bind(account)
    .fetch_one(&mut *tx)
    .await?;

    let order = OrderPlaced { account, number };
    let draft = Message::json("orders.placed", &order)?.key(account);
    outbox.enqueue(&mut tx, draft).await?;

    tx.commit().await?;
    outbox.wake();
    Ok(())
}
