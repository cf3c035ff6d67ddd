//! The store, by what is asked of it.

mod admin;
mod enqueue;
mod fetch;
mod handle;
mod lease;
mod select;
mod settle;

pub use handle::PostgresStore;
use handle::{bound, micros, name};
