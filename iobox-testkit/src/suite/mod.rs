//! The conformance suite that certifies a store.
//!
//! An adapter writes a [`Harness`] and calls [`store_suite!`](crate::store_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee.

pub mod blocked;
pub mod dead;
pub mod fence;
pub mod fetch;
pub mod halt;
pub mod handover;
mod harness;
pub mod late;
pub mod lease;
pub mod open;
pub mod order;
pub mod retry;
mod run;
pub mod settle;
pub mod share;
pub mod support;
pub mod suspect;
mod table;
pub mod waiting;

pub use harness::{Harness, Misfit, OpenTransaction};
pub use run::{Case, cases, run};
