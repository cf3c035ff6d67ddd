//! A store of your own: the rows of an outbox in one file that is only appended to.
//!
//! Rooms in the order in which a message meets them: `enqueue` writes it, `lease` says who may work
//! it, `fetch` finds it, `settle` records what became of it, `admin` shows it to a person. `table` is
//! what all of them change, `journal` the file that a change must reach before it counts.

mod admin;
mod enqueue;
mod fetch;
mod hooks;
mod journal;
mod lease;
mod row;
mod settle;
pub(crate) mod slip;
mod store;
mod table;

pub(crate) use enqueue::FileTx;
pub(crate) use store::FileStore;
