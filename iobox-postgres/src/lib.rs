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
//! # Layout
//!
//! * `config`, `ident`: settings, checked once.
//! * `migrate`: the tables, their versions, and the script for people who run DDL themselves.
//! * `sql`: every statement, named, with the index and the locks it relies on.
//! * `store`: the traits, one file for each noun; `row`: what a row decodes to.
//! * `pool`: connections of the store's own; `wake`: the demand-driven NOTIFY.
//! * `error`: one table from SQLSTATE to what the caller should do.
//!
//! [`Admin`]: iobox_core::store::Admin
//! [`Enqueue`]: iobox_core::store::Enqueue

#![forbid(unsafe_code)]

mod config;
mod error;
mod ident;
mod migrate;
mod pool;
mod row;
mod sql;
mod store;
mod wake;

pub use config::{Config, ConfigBuilder};
pub use store::PostgresStore;
