//! The conformance suite that certifies a store.
//!
//! An adapter writes a [`Harness`] and calls [`store_suite!`](crate::store_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee.

pub mod blocked;
pub mod cancel;
pub mod corrupt;
pub mod dead;
pub mod discard;
pub mod duplicate;
pub mod enqueue;
pub mod fence;
pub mod fetch;
pub mod halt;
pub mod handover;
mod harness;
pub mod late;
pub mod lease;
pub mod list;
pub mod model;
pub mod open;
pub mod order;
pub mod program;
pub mod purge;
pub mod race;
pub mod replay;
pub mod retry;
mod run;
pub mod settle;
pub mod share;
pub mod stats;
pub mod support;
pub mod suspect;
mod table;
pub mod waiting;
pub mod wake;

pub use harness::{Harness, Misfit, OpenTransaction};
pub use run::{Case, cases, run};
