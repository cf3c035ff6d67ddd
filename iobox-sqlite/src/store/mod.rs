//! The store: its connections, and what each of them does.

mod admin;
mod aside;
mod cursor;
mod due;
mod enqueue;
mod fetch;
mod handle;
mod lease;
mod pick;
mod purge;
mod settle;
mod stats;

pub(crate) use enqueue::savepoint;
pub(crate) use handle::Inner;
pub use handle::SqliteStore;
pub(crate) use lease::holds;
