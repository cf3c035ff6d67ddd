//! The inbox: subscriptions, receiving, and handlers in transactions.

mod group;
mod handler;
mod ingest;
mod receive;
mod sql;
mod subscribe;
mod transact;

pub(crate) use group::Group;
pub use handler::{OnTxSync, SqliteHandler};
pub(crate) use sql::InboxSql;
