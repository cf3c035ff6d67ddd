//! Moving in: the rows of the tables of go-iobox become rows of ours.
//!
//! `options.rs` says what to move and how, `report.rs` what was moved; `walk.rs` goes through a table in
//! batches, `theirs.rs` reads a row of it, `outbox.rs` and `inbox.rs` take a batch over.

mod inbox;
mod options;
mod outbox;
mod report;
mod theirs;
mod walk;

pub use options::MoveIn;
pub use report::{LeftRow, MovedIn, MovedTable};
