//! The rules of the dispatch machine, as cases that drive it directly: no runtime, no clock.
//!
//! `store.rs` and `row.rs` are a model of the store, `rig.rs` moves one machine by hand, `world.rs`
//! runs several on a random schedule. Each other file holds the cases of one group of rules.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod broker;
mod end;
mod plan;
mod process;
mod rig;
mod row;
mod store;
mod watch;
mod world;

mod alone;
mod ask;
mod blocked;
mod breaker;
mod cautious;
mod doubt;
mod drain;
mod gone;
mod handover;
mod lease;
mod liveness;
mod load;
mod memory;
mod outcome;
mod room;
mod sent;
mod settle;
mod statement;
mod straggler;
mod view;
