//! The service of orders: charges an account when an order is placed, and confirms the order or pays it
//! back when the stock has answered.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use iobox::{
    Outbox, Router,
    handler::{HandlerError, TxHandler, read_json},
    message::Message,
    postgres::PostgresStore,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::service::{self, Place};

/// How many accounts there are, and what each has at first.
pub(crate) const ACCOUNTS: i32 = 10;
pub(crate) const BALANCE: i64 = 100_000;
/// How many products there are.
pub(crate) const PRODUCTS: i32 = 5;

/// An order was placed and charged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: i64,
    pub(crate) product: i32,
    pub(crate) count: i32,
}

/// The stock answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) order: i64,
}

/// The end of the service that customers use.
pub(crate) struct Shop {
    pool: PgPool,
    outbox: Outbox<PostgresStore>,
    schema: String,
}

/// Makes the tables, if they are not there.
pub(crate) async fn open(place: &Place) -> Result<Shop> {
    let store = place.store("orders").await?;
    let schema = place.schema("orders");
    let pool = PgPool::connect(&place.database).await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {schema}.accounts (id int PRIMARY KEY, balance bigint NOT NULL);
         INSERT INTO {schema}.accounts SELECT id, {BALANCE} FROM generate_series(1, {ACCOUNTS}) id
         ON CONFLICT DO NOTHING;
         CREATE TABLE IF NOT EXISTS {schema}.orders (id bigserial PRIMARY KEY, account int NOT NULL,
           product int NOT NULL, count int NOT NULL, price bigint NOT NULL,
           state text NOT NULL DEFAULT 'placed');"
    )))
    .execute(&pool)
    .await?;
    let outbox = Outbox::new(store);
    Ok(Shop {
        pool,
        outbox,
        schema,
    })
}

impl Shop {
    /// Charges an account and announces the order, both or neither.
    pub(crate) async fn place(&self, random: &mut fastrand::Rng) -> Result<()> {
        let (account, product) = (random.i32(1..=ACCOUNTS), random.i32(1..=PRODUCTS));
        let count = random.i32(1..=5);
        let price = i64::from(count) * 10;
        let schema = &self.schema;
        let mut tx = self.pool.begin().await?;
        let charge = format!("UPDATE {schema}.accounts SET balance = balance - $2 WHERE id = $1");
        let charge = sqlx::query(AssertSqlSafe(charge)).bind(account).bind(price);
        charge.execute(&mut *tx).await?;
        let insert = format!(
            "INSERT INTO {schema}.orders (account, product, count, price) VALUES ($1, $2, $3, $4)
             RETURNING id"
        );
        let order: i64 = sqlx::query_scalar(AssertSqlSafe(insert))
            .bind(account)
            .bind(product)
            .bind(count)
            .bind(price)
            .fetch_one(&mut *tx)
            .await?;
        let placed = Placed {
            order,
            product,
            count,
        };
        let draft = Message::json("orders.placed", &placed)?.key(order);
        self.outbox.enqueue(&mut tx, draft).await?;
        tx.commit().await.context("an order was not committed")
    }
}

/// Runs the service.
pub(crate) async fn serve(place: &Place) -> Result<()> {
    let store = place.store("orders").await?;
    let schema = place.schema("orders");
    let mut router = Router::new();
    let confirm = format!(
        "UPDATE {schema}.orders SET state = 'confirmed' WHERE id = $1 AND state = 'placed'"
    );
    router.on_tx("stock.reserved", "confirm-order", Change(vec![confirm]));
    let pay_back = format!(
        "UPDATE {schema}.accounts AS a SET balance = a.balance + o.price
         FROM {schema}.orders AS o WHERE o.id = $1 AND o.account = a.id"
    );
    let cancel = format!("UPDATE {schema}.orders SET state = 'cancelled' WHERE id = $1");
    router.on_tx(
        "stock.refused",
        "cancel-order",
        Change(vec![pay_back, cancel]),
    );
    service::run(place, "orders", "stock.>", store, router).await
}

/// Changes tables by statements whose one parameter is the order. What they do happens once, although
/// paying back is not idempotent: the mark that the message is handled commits with it.
struct Change(Vec<String>);

#[async_trait]
impl TxHandler<PgConnection> for Change {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        let Answered { order } = read_json(message)?;
        for statement in &self.0 {
            let change = sqlx::query(AssertSqlSafe(statement.clone())).bind(order);
            change.execute(&mut *tx).await?;
        }
        Ok(())
    }
}
