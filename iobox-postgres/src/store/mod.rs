//! The store, by what is asked of it.

mod admin;
mod advance;
mod enqueue;
mod fetch;
mod handle;
mod hint;
mod inbox;
mod lease;
mod move_in;
mod select;
mod settle;
mod waiting;

pub use handle::PostgresStore;
use handle::{bound, micros};
pub use move_in::{LeftRow, MoveIn, MovedIn, MovedTable};
