//! The shop: orders and their messages, written in one transaction.

use std::path::Path;

use anyhow::{Context as _, Result};
use iobox::{
    Outbox,
    message::Message,
    sqlite::{Config, Failure, SqliteStore, rusqlite::Connection},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How many orders are placed.
pub(crate) const ORDERS: u32 = 500;

/// Who buys.
pub(crate) const CUSTOMERS: [&str; 20] = [
    "ada", "alan", "anita", "barbara", "claude", "dennis", "donald", "edsger", "frances", "grace",
    "hedy", "john", "karen", "ken", "leslie", "margaret", "niklaus", "radia", "sophie", "tony",
];

/// The topic of orders.
pub(crate) const PLACED: &str = "orders.placed";
/// The topic of what is no order.
const IMPORTED: &str = "orders.imported";

/// An order: a row of the table `orders`, and the payload of its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Its id.
    pub(crate) id: u32,
    /// Who placed it; the ordering key of its message.
    pub(crate) customer: String,
    /// Which of the customer's orders it is, from 1.
    pub(crate) number: u32,
    /// What it costs.
    pub(crate) cents: u32,
}

/// An order service.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    /// The database: business tables and outbox in one file.
    pub(crate) store: SqliteStore,
    outbox: Outbox<SqliteStore>,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The order and its message are in the database.
    Committed,
    /// Neither is.
    RolledBack,
}

impl Shop {
    /// Makes the database in `folder`.
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let store = SqliteStore::open(Config::new(folder.join("shop.db")))?;
        store.migrate().await?;
        store
            .write(|tx| -> Result<(), Failure> {
                tx.execute_batch(
                    "CREATE TABLE customers (name TEXT PRIMARY KEY, orders INTEGER NOT NULL);
                     CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL,
                                          number INTEGER NOT NULL, cents INTEGER NOT NULL);",
                )?;
                for name in CUSTOMERS {
                    tx.execute("INSERT INTO customers VALUES (?1, 0)", [name])?;
                }
                Ok(())
            })
            .await?;
        let outbox = Outbox::new(store.clone());
        Ok(Self { store, outbox })
    }

    /// Places an order. If the card is declined, the order and its message vanish together.
    pub(crate) async fn place(
        &self,
        id: u32,
        customer: &str,
        cents: u32,
        card: bool,
    ) -> Result<Placed> {
        let mut tx = self.store.begin().await?;

        // The row that the ordering key names comes first, so that the orders of a customer queue up.
        let name = customer.to_owned();
        let order = tx
            .run(move |conn| -> Result<Order, Failure> {
                let number = conn.query_row(
                    "UPDATE customers SET orders = orders + 1 WHERE name = ?1 RETURNING orders",
                    [&name],
                    |row| row.get(0),
                )?;
                conn.execute(
                    "INSERT INTO orders VALUES (?1, ?2, ?3, ?4)",
                    (id, &name, number, cents),
                )?;
                Ok(Order {
                    id,
                    customer: name,
                    number,
                    cents,
                })
            })
            .await?;
        let draft = Message::json(PLACED, &order)?.key(customer);
        self.outbox.enqueue(&mut tx, draft).await?;

        if card {
            tx.commit().await?;
            Ok(Placed::Committed)
        } else {
            tx.rollback().await?;
            Ok(Placed::RolledBack)
        }
    }

    /// Places [`ORDERS`] orders, one after the other; one card in ten is declined. Returns the ids
    /// of those that were rolled back. The last quarter waits until `gate` is open.
    pub(crate) async fn place_all(&self, mut gate: watch::Receiver<bool>) -> Result<Vec<u32>> {
        let mut random = fastrand::Rng::with_seed(1843);
        let mut rolled_back = Vec::new();
        for id in 1..=ORDERS {
            if id == ORDERS * 3 / 4 {
                // An error says that it is open for ever.
                let _ = gate.wait_for(|open| *open).await;
            }
            let customer = CUSTOMERS[random.usize(..CUSTOMERS.len())];
            let cents = random.u32(500..50_000);
            let placed = self.place(id, customer, cents, id % 10 != 0).await;
            match placed.with_context(|| format!("order {id} could not be placed"))? {
                Placed::Committed => {}
                Placed::RolledBack => rolled_back.push(id),
            }
        }
        Ok(rolled_back)
    }

    /// Enqueues a message that is no order, as every shop does one day.
    pub(crate) async fn import(&self) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let draft = Message::json(IMPORTED, "see the fax of this morning")?;
        self.outbox.enqueue(&mut tx, draft).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The orders of the table, read past the store with a connection of our own.
pub(crate) fn committed(folder: &Path) -> Result<Vec<Order>> {
    let conn = Connection::open(folder.join("shop.db"))?;
    let mut select = conn.prepare("SELECT id, customer, number, cents FROM orders ORDER BY id")?;
    let orders = select.query_map([], |row| {
        Ok(Order {
            id: row.get(0)?,
            customer: row.get(1)?,
            number: row.get(2)?,
            cents: row.get(3)?,
        })
    })?;
    Ok(orders.collect::<Result<_, _>>()?)
}
