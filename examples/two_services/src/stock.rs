//! The service of stock: reserves goods for an order, or refuses it, and says so.

use anyhow::Result;
use async_trait::async_trait;
use iobox::{
    Outbox, Router,
    handler::{HandlerError, TxHandler, read_json},
    message::Message,
    postgres::PostgresStore,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::{
    orders::{Answered, PRODUCTS, Placed},
    service::{self, Place},
};

/// What there is of each product at first: less than is ordered.
pub(crate) const GOODS: i32 = 100;

/// Makes the tables, if they are not there.
pub(crate) async fn open(place: &Place) -> Result<()> {
    place.store("stock").await?;
    let schema = place.schema("stock");
    let pool = PgPool::connect(&place.database).await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {schema}.products (id int PRIMARY KEY, goods int NOT NULL);
         INSERT INTO {schema}.products SELECT id, {GOODS} FROM generate_series(1, {PRODUCTS}) id
         ON CONFLICT (id) DO UPDATE SET goods = products.goods + {GOODS};"
    )))
    .execute(&pool)
    .await?;
    pool.close().await;
    Ok(())
}

/// Runs the service.
pub(crate) async fn serve(place: &Place) -> Result<()> {
    let store = place.store("stock").await?;
    let reserve = Reserve {
        outbox: Outbox::new(store.clone()),
        products: format!("{}.products", place.schema("stock")),
    };
    let mut router = Router::new();
    router.on_tx("orders.placed", "reserve", reserve);
    service::run(place, "stock", "orders.>", store, router).await
}

/// Takes goods from the stock and answers, in one transaction.
struct Reserve {
    outbox: Outbox<PostgresStore>,
    products: String,
}

#[async_trait]
impl TxHandler<PgConnection> for Reserve {
    async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
        let placed: Placed = read_json(message)?;
        let take = format!(
            "UPDATE {} SET goods = goods - $2 WHERE id = $1 AND goods >= $2",
            self.products
        );
        let take = sqlx::query(AssertSqlSafe(take));
        let take = take.bind(placed.product).bind(placed.count);
        let taken = take.execute(&mut *tx).await?.rows_affected() == 1;
        let topic = if taken {
            "stock.reserved"
        } else {
            "stock.refused"
        };
        let order = placed.order;
        let draft = Message::json(topic, &Answered { order })?.key(order);
        self.outbox.enqueue(tx, draft).await?;
        Ok(())
    }
}
