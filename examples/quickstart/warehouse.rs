//! The warehouse: another service with a database of its own, which handles what the shop published.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use iobox::{
    Inbox, Router,
    dispatch::RetryPolicy,
    handler::{HandlerError, from_fn, read_json},
    inbox::{HandlerName, HandlerPolicy},
    message::Message,
    queue::Queue,
    source::Source,
    sqlite::{
        Config, Failure, OnTxSync as _, SqliteStore,
        rusqlite::{Connection, Transaction},
    },
    store::{Admin as _, Entry, Filter, Page, State, Subscribe as _},
};

use crate::shop::Order;

/// The handler whose effects are in the warehouse's database.
const RESERVE: &str = "reserve-stock";
/// The handler whose effects are elsewhere.
const LABEL: &str = "print-label";
/// The order whose label the printer refuses twice.
const JAMMED: u32 = 42;

/// Makes the database in `folder`.
pub(crate) async fn open(folder: &Path) -> Result<SqliteStore> {
    let store = SqliteStore::open(Config::new(folder.join("warehouse.db")))?;
    store.migrate().await?;
    store
        .write(|tx| -> Result<(), Failure> {
            // No key: an order that is reserved twice stands here twice.
            tx.execute_batch(
                "CREATE TABLE IF NOT EXISTS reserved (order_id INTEGER NOT NULL, customer TEXT NOT NULL)",
            )?;
            Ok(())
        })
        .await?;
    Ok(store)
}

/// Reserves stock in the transaction that also marks the order as handled. A message that is no order
/// will not become one by waiting: `read_json` rejects it, and it is a dead letter.
fn reserve(tx: &Transaction<'_>, message: &Message) -> Result<(), HandlerError> {
    let order: Order = read_json(message)?;
    tx.execute(
        "INSERT INTO reserved VALUES (?1, ?2)",
        (order.id, &order.customer),
    )?;
    Ok(())
}

/// An inbox that reads `source` and has two handlers.
pub(crate) fn inbox(store: SqliteStore, source: impl Source) -> Result<Inbox<SqliteStore>> {
    let mut router = Router::new();
    router.on_tx_sync("orders.*", RESERVE, reserve);
    let tries: Mutex<HashMap<u32, u32>> = Mutex::default();
    let label = move |message: Message| {
        let printed = read_json(&message).and_then(|order: Order| {
            let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
            let tries = tries.entry(order.id).or_default();
            *tries += 1;
            if order.id == JAMMED && *tries <= 2 {
                return Err(HandlerError::Retry("the printer is jammed".into()));
            }
            Ok(())
        });
        async move { printed }
    };
    let retry = RetryPolicy::new(Duration::from_millis(20), Duration::from_millis(200), 5)?;
    router
        .on("orders.placed", LABEL, from_fn(label))
        .policy(HandlerPolicy::new().retry(retry));
    Ok(Inbox::builder(store, router)
        .source(source)
        .time_to_live(Duration::from_secs(1))
        .build()?)
}

/// What the warehouse did; every promise held, or there would be an error instead.
#[derive(Debug)]
pub(crate) struct Handled {
    /// How many orders are reserved, each once.
    pub(crate) reserved: usize,
    /// Why the dead letter is dead.
    pub(crate) dead: String,
    /// How many attempts the label took that failed at first.
    pub(crate) attempts: u32,
}

/// How many reservations there are, read past the store.
pub(crate) fn reserved(folder: &Path) -> Result<usize> {
    let conn = Connection::open(folder.join("warehouse.db"))?;
    let count: u32 = conn.query_row("SELECT count(*) FROM reserved", [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}

/// Compares the reservations with the orders, and looks at what failed.
pub(crate) async fn check(
    folder: &Path,
    store: &SqliteStore,
    committed: &[Order],
) -> Result<Handled> {
    let conn = Connection::open(folder.join("warehouse.db"))?;
    let mut select = conn.prepare("SELECT order_id FROM reserved ORDER BY order_id")?;
    let ids = select.query_map([], |row| row.get(0))?;
    let ids: Vec<u32> = ids.collect::<Result<_, _>>()?;
    let orders: Vec<u32> = committed.iter().map(|order| order.id).collect();
    ensure!(
        ids == orders,
        "{} reservations for {} orders: {ids:?}",
        ids.len(),
        orders.len()
    );

    let dead = entries(store, RESERVE, State::Dead).await?;
    ensure!(dead.len() == 1, "{} dead letters instead of 1", dead.len());
    let reason = dead.into_iter().find_map(|entry| entry.reason);
    let printed = entries(store, LABEL, State::Done).await?;
    ensure!(
        printed.len() == orders.len(),
        "{} labels for {} orders",
        printed.len(),
        orders.len()
    );
    Ok(Handled {
        reserved: ids.len(),
        dead: reason.context("a dead letter says why")?,
        attempts: printed.iter().map(|entry| entry.attempt).max().unwrap_or(0),
    })
}

/// The rows of a handler that are in this state.
async fn entries(store: &SqliteStore, handler: &str, state: State) -> Result<Vec<Entry>> {
    let name = HandlerName::new(handler)?;
    let queue = store.queue_of(&name).await?;
    let mut filter = Filter::default();
    filter.states.push(state);
    let page = Page {
        after: None,
        limit: 1_000,
    };
    Ok(queue.list(&Queue::Inbox(name), &filter, page).await?)
}
