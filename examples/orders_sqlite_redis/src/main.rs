//! An order service on SQLite, whose messages go to Redis Streams.
//!
//! Run it with `REDIS_URL=redis://localhost cargo run -p orders_sqlite_redis`, against a server that
//! was started with `redis-server --appendonly yes`. Its database is a temporary file; its stream,
//! `<prefix>orders.placed` with the prefix in `IOBOX_PREFIX`, stays.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use iobox::{
    Outbox, Relay,
    message::Message,
    queue::Queue,
    redis::{self as streams, RedisPublisher},
    sqlite::{self, Failure, SqliteStore},
    store::Store as _,
};
use serde::{Deserialize, Serialize};

/// How many accounts there are, each with this many orders.
const ACCOUNTS: u32 = 5;
const ORDERS: u32 = 20;

/// The payload of a message.
#[derive(Debug, Serialize, Deserialize)]
struct OrderPlaced {
    account: u32,
    /// Which of the account's orders it is.
    number: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = env::var("IOBOX_TEST_REDIS_URL")
        .or_else(|_| env::var("REDIS_URL"))
        .context("set REDIS_URL to a Redis, such as redis://localhost")?;
    let prefix = env::var("IOBOX_PREFIX").unwrap_or_else(|_| String::from("orders_example:"));
    let folder = tempfile::tempdir()?;

    // The two lines that choose the backends; nothing below would change for others but SQL.
    let store = SqliteStore::open(sqlite::Config::new(folder.path().join("shop.db")))?;
    let publisher = RedisPublisher::new(streams::Config::builder(&url).prefix(&prefix).build()?);

    store.migrate().await?;
    store
        .write(|tx| -> Result<(), Failure> {
            tx.execute_batch("CREATE TABLE accounts (id INTEGER PRIMARY KEY, orders INTEGER)")?;
            for account in 1..=ACCOUNTS {
                tx.execute("INSERT INTO accounts VALUES (?1, 0)", [account])?;
            }
            Ok(())
        })
        .await?;

    let relay = Relay::builder(store.clone(), publisher);
    let relay = relay.build()?.spawn();

    // One task for each order, all at once.
    let outbox = Outbox::new(store.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for order in 0..ACCOUNTS * ORDERS {
        let (store, outbox) = (store.clone(), outbox.clone());
        tasks.spawn(async move { place(&store, &outbox, 1 + order % ACCOUNTS).await });
    }
    while let Some(placed) = tasks.join_next().await {
        placed?.context("an order could not be placed")?;
    }

    let published = relay.wait_until_empty(Duration::from_secs(30)).await;
    // First, since it knows the reason if it failed.
    relay.drain().await.context("the relay failed")?;
    published?;

    let origin = store.open(&Queue::Outbox).await?.origin;
    let orders = read(&url, &format!("{prefix}orders.placed"), &origin.to_string()).await?;
    let mut last: HashMap<u32, u32> = HashMap::new();
    for order in orders {
        let before = last.insert(order.account, order.number).unwrap_or(0);
        ensure!(
            order.number == before + 1,
            "account {}: order {} was published after order {before}",
            order.account,
            order.number
        );
    }
    ensure!(
        last.len() == usize::try_from(ACCOUNTS)? && last.values().all(|last| *last == ORDERS),
        "the last orders published are {last:?}"
    );
    println!(
        "{} orders of {ACCOUNTS} accounts were placed at once.",
        ACCOUNTS * ORDERS
    );
    println!("  ok  every one is in Redis, and those of an account in order");
    println!("  ok  the relay has drained");
    Ok(())
}

/// Charges the account and announces the order, both or neither.
async fn place(store: &SqliteStore, outbox: &Outbox<SqliteStore>, account: u32) -> Result<()> {
    let mut tx = store.begin().await?;
    let number = tx
        .run(move |db| -> Result<u32, Failure> {
            let charge = "UPDATE accounts SET orders = orders + 1 WHERE id = ?1 RETURNING orders";
            Ok(db.query_row(charge, [account], |row| row.get(0))?)
        })
        .await?;
    let draft = Message::json("orders.placed", &OrderPlaced { account, number })?.key(account);
    outbox.enqueue(&mut tx, draft).await?;
    tx.commit().await?;
    outbox.wake();
    Ok(())
}

/// Reads what an origin wrote into a stream, as a consumer in any language would.
async fn read(url: &str, stream: &str, origin: &str) -> Result<Vec<OrderPlaced>> {
    let mut client = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let mut command = redis::cmd("XRANGE");
    command.arg(stream).arg("-").arg("+");
    let entries: redis::streams::StreamRangeReply = command.query_async(&mut client).await?;
    let ours = entries.ids.iter().filter(|entry| {
        let id: Option<String> = entry.get("id");
        id.is_some_and(|id| id.starts_with(origin))
    });
    ours.map(|entry| {
        let payload: Vec<u8> = entry.get("payload").context("no payload")?;
        serde_json::from_slice(&payload).context("no order")
    })
    .collect()
}
