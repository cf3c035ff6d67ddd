//! The SQLite store of iobox: a transactional outbox and an inbox in the application's own database
//! file.
//!
//! The application writes its rows and its messages in one transaction, and a relay of the same or
//! of another process moves the messages to a broker. Everything lives in one file, in a few tables
//! with a prefix of their own.
//!
//! ```no_run
//! # async fn example() -> iobox_core::Result<()> {
//! use iobox_core::message::Draft;
//! use iobox_sqlite::{Config, Failure, SqliteStore};
//!
//! let store = SqliteStore::open(Config::new("shop.db"))?;
//! store.migrate().await?;
//!
//! let outbox = store.clone();
//! store
//!     .write(move |tx| -> Result<(), Failure> {
//!         tx.execute("INSERT INTO orders (id, total) VALUES (?1, ?2)", (7, 1_250))?;
//!         outbox.enqueue_sync(tx, &[Draft::new("orders.created", "7").key("order-7")])?;
//!         Ok(())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Three ways to enqueue
//!
//! * [`SqliteStore::write`] runs a closure in one transaction and commits it.
//! * [`SqliteStore::begin`] opens a [`SqliteTx`], which may be held across awaits.
//! * [`SqliteStore::enqueue_sync`] writes through a transaction of the caller's own connection to
//!   the same file.
//!
//! # The inbox
//!
//! [`OnTxSync::on_tx_sync`] gives a handler of the inbox a transaction of the file: what it writes, what
//! it enqueues, and the mark that the message is handled commit together.
//!
//! ```no_run
//! # use iobox_core::{Inbox, Router, handler::HandlerError, inbox::{Delivery, SourceName}, message::Message};
//! # use iobox_sqlite::{OnTxSync, SqliteStore, rusqlite::Transaction};
//! # async fn example(store: SqliteStore, delivery: Delivery) -> iobox_core::Result<()> {
//! let mut router = Router::new();
//! router.on_tx_sync(
//!     "orders.created",
//!     "reserve-stock",
//!     |tx: &Transaction<'_>, message: &Message| -> Result<(), HandlerError> {
//!         tx.execute("INSERT INTO reserved (id) VALUES (?1)", [message.id().as_str()])?;
//!         Ok(())
//!     },
//! );
//! let inbox = Inbox::builder(store, router).build()?;
//! let handle = inbox.spawn();
//! inbox.receive(&SourceName::new("webhook")?, &[delivery]).await?;
//! // It is committed: ack it now.
//! handle.drain().await
//! # }
//! ```
//!
//! # What to know about SQLite
//!
//! * One file has one writer at a time. While a transaction that writes is open, every other one
//!   waits, also the relay's and its renewals. Keep transactions short; those of the first two ways
//!   have a [limit](ConfigBuilder::transaction_limit).
//! * A process that is halted (SIGSTOP, a debugger) while it holds the write lock stops every other
//!   one that uses the file until it goes on. Nothing is lost or reordered.
//! * The clock of the database is the clock of the host. All processes that use the file must run
//!   on one host, and the file must lie on a local file system.
//! * The file is switched to write-ahead logging. With the default
//!   [`Synchronous::Full`] a commit survives the loss of power.
//! * SQLite 3.51.3 or later is required, since versions before it can lose committed rows.

#![forbid(unsafe_code)]

mod config;
mod connection;
mod error;
mod gate;
mod ident;
mod inbox;
mod log;
mod migrate;
mod open;
mod owner;
mod row;
mod sql;
mod store;
mod time;
mod tx;
mod wake;

pub use config::{Config, ConfigBuilder, Synchronous};
pub use error::{Failure, sql_error};
pub use inbox::{OnTxSync, SqliteHandler};
pub use migrate::migration_sql;
pub use rusqlite;
pub use store::SqliteStore;
pub use tx::SqliteTx;
