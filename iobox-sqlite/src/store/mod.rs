//! The store: its connections, and what each of them does.

mod admin;
mod aside;
mod due;
mod enqueue;
mod fetch;
mod handle;
mod lease;
mod pick;
mod settle;
mod stats;

pub(crate) use enqueue::savepoint;
pub(crate) use handle::Inner;
pub use handle::SqliteStore;
pub(crate) use lease::holds;
