//! A service that uses iobox with everything beside sqlx: it must build, with one copy of each driver.

use std::error::Error;

use iobox::{
    Outbox, Relay,
    message::Message,
    nats::JetStreamPublisher,
    postgres::{self, PostgresStore},
    redis::RedisPublisher,
    sqlite::SqliteStore,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Of each backend one that a service may choose.
type Chosen = (Option<SqliteStore>, Option<JetStreamPublisher>, Option<RedisPublisher>);

/// An order and its message in one transaction of the service's own pool.
async fn place(pool: &sqlx::PgPool, outbox: &Outbox<PostgresStore>) -> Result<()> {
    let mut tx = pool.begin().await?;
    let id: sqlx::types::Uuid = sqlx::query_scalar("INSERT INTO orders DEFAULT VALUES RETURNING id")
        .fetch_one(&mut *tx)
        .await?;
    let placed = Message::json("orders.placed", &id.to_string())?.key(id.to_string());
    outbox.enqueue(&mut tx, placed).await?;
    tx.commit().await?;
    outbox.wake();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let chosen: Chosen = (None, None, None);
    let Ok(url) = std::env::var("DATABASE_URL") else {
        println!("DATABASE_URL is not set; nothing to do but to have been built");
        drop(chosen);
        return Ok(());
    };
    let pool = sqlx::PgPool::connect(&url).await?;
    let store = PostgresStore::connect_url(&url, postgres::Config::builder().build()?).await?;
    store.migrate().await?;
    let outbox = Outbox::new(store.clone());
    place(&pool, &outbox).await?;
    let broker = iobox::memory::MemoryBroker::new();
    let relay = Relay::builder(store, broker).build()?.spawn();
    relay.drain().await?;
    Ok(())
}
