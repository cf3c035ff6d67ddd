//! The store, by what is asked of it.

mod admin;
mod enqueue;
mod fetch;
mod handle;
mod inbox;
mod lease;
mod select;
mod settle;
mod waiting;

pub use handle::PostgresStore;
use handle::{bound, micros};
