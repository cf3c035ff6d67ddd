//! The Postgres store of iobox, on sqlx.
//!
//! [`PostgresStore`] implements [`Store`](iobox_core::store::Store), [`Enqueue`] and [`Admin`] on
//! Postgres 15 and later. Applications enqueue with the connection of their own transaction:
//!
//! ```no_run
//! use iobox_core::{Outbox, message::Draft};
//! use iobox_postgres::{Config, PostgresStore};
//! use sqlx::{Connection, PgConnection};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "postgres://app@localhost/orders";
//! let store = PostgresStore::connect_url(url, Config::default()).await?;
//! store.migrate().await?;
//!
//! let outbox = Outbox::new(store.clone());
//! let mut connection = PgConnection::connect(url).await?;
//! let mut tx = connection.begin().await?;
//! let draft = Draft::new("orders.created", "{}").key("order-1");
//! outbox.enqueue(&mut tx, &draft).await?;
//! tx.commit().await?;
//! outbox.wake();
//! # Ok(())
//! # }
//! ```
//!
//! Other languages write with the SQL function `enqueue(topic, key, payload, headers, id)` in the
//! same schema.
//!
//! # The inbox
//!
//! `Router::on_tx` gives a handler a transaction on a connection of the store's own. The mark that the
//! message is handled is the last statement before its COMMIT and locks the lease, so that a worker
//! that lost it commits nothing. Handlers of other processes are found by polling; those of this
//! process are woken by a reception of this process.
//!
//! ```no_run
//! use iobox_core::{Inbox, Router, handler::{HandlerError, TxHandler}, message::Message};
//! use iobox_postgres::PostgresStore;
//! use sqlx::PgConnection;
//!
//! struct ReserveStock;
//!
//! #[async_trait::async_trait]
//! impl TxHandler<PgConnection> for ReserveStock {
//!     async fn handle(&self, tx: &mut PgConnection, message: &Message) -> Result<(), HandlerError> {
//!         sqlx::query("insert into reserved (id) values ($1)")
//!             .bind(message.id().as_str())
//!             .execute(tx)
//!             .await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example(store: PostgresStore) -> iobox_core::Result<()> {
//! let mut router = Router::new();
//! router.on_tx("orders.created", "reserve-stock", ReserveStock);
//! Inbox::builder(store, router).build()?.run(std::future::pending()).await
//! # }
//! ```
//!
//! # Moving in from go-iobox
//!
//! [`PostgresStore::move_in`] takes over the tables of go-iobox in the same database; the guide
//! `docs/moving_from_go_iobox.md` of the repository has the steps.
//!
//! # Layout
//!
//! * `config`, `ident`, `url`: settings, checked once.
//! * `migrate`: the tables, their versions, and the script for people who run DDL themselves; `grants`:
//!   what a role needs of them.
//! * `sql`: every statement, named, with the index and the locks it relies on.
//! * `store`: the traits, one file for each noun; `row`: what a row decodes to.
//! * `pool`, `session`: connections of the store's own; `wake`: the demand-driven NOTIFY.
//! * `error`: one table from SQLSTATE to what the caller should do.
//!
//! [`Admin`]: iobox_core::store::Admin
//! [`Enqueue`]: iobox_core::store::Enqueue

#![forbid(unsafe_code)]

mod config;
mod depth;
mod error;
mod grants;
mod ident;
mod migrate;
mod pool;
mod row;
mod session;
mod sql;
mod store;
mod url;
mod wake;

pub use config::{Config, ConfigBuilder};
pub use grants::Duty;
pub use session::Session;
pub use store::{LeftRow, MoveIn, MovedIn, MovedTable, PostgresStore};
