//! The books: do goods and money add up?

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, PgPool};

use crate::service::Place;

/// What there was before.
pub(crate) struct Books {
    pool: PgPool,
    orders: String,
    stock: String,
    last: i64,
    before: Totals,
}

/// What there is in all.
#[derive(Debug, Clone, Copy)]
struct Totals {
    money: i64,
    goods: i64,
}

/// What became of the orders.
pub(crate) struct Report {
    pub(crate) confirmed: i64,
    pub(crate) cancelled: i64,
}

/// Notes what there is, once the tables are there.
pub(crate) async fn open(place: &Place) -> Result<Books> {
    let mut books = Books {
        pool: PgPool::connect(&place.database).await?,
        orders: place.schema("orders"),
        stock: place.schema("stock"),
        last: 0,
        before: Totals { money: 0, goods: 0 },
    };
    let last = format!("SELECT coalesce(max(id), 0) FROM {}.orders", books.orders);
    books.last = books.number(last).await?;
    books.before = books.totals().await?;
    Ok(books)
}

impl Books {
    async fn number(&self, statement: String) -> Result<i64> {
        let number = sqlx::query_scalar(AssertSqlSafe(statement));
        Ok(number.fetch_one(&self.pool).await?)
    }

    async fn totals(&self) -> Result<Totals> {
        let (orders, stock) = (&self.orders, &self.stock);
        Ok(Totals {
            money: self
                .number(format!(
                    "SELECT sum(balance)::bigint FROM {orders}.accounts"
                ))
                .await?,
            goods: self
                .number(format!("SELECT sum(goods)::bigint FROM {stock}.products"))
                .await?,
        })
    }

    /// One number of the orders that were placed since.
    async fn of_orders(&self, what: &str, state: &str) -> Result<i64> {
        let (orders, last) = (&self.orders, self.last);
        let statement =
            format!("SELECT {what} FROM {orders}.orders WHERE id > {last} AND state = '{state}'");
        self.number(statement).await
    }

    /// How many orders have not come to their end.
    pub(crate) async fn open_orders(&self) -> Result<i64> {
        self.of_orders("count(*)", "placed").await
    }

    /// Checks that nothing was lost and nothing happened twice.
    pub(crate) async fn check(&self) -> Result<Report> {
        let now = self.totals().await?;
        let sum = |what: &str| format!("coalesce(sum({what}), 0)::bigint");
        let paid = self.of_orders(&sum("price"), "confirmed").await?;
        let taken = self.of_orders(&sum("count"), "confirmed").await?;
        let (money, goods) = (self.before.money - now.money, self.before.goods - now.goods);
        ensure!(money == paid, "accounts paid {money}, confirmed is {paid}");
        ensure!(
            goods == taken,
            "{goods} goods are gone, confirmed are {taken}"
        );
        Ok(Report {
            confirmed: self.of_orders("count(*)", "confirmed").await?,
            cancelled: self.of_orders("count(*)", "cancelled").await?,
        })
    }
}
