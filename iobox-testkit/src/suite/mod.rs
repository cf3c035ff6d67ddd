//! The conformance suite that certifies a store.
//!
//! An adapter writes a [`Harness`] and calls [`store_suite!`](crate::store_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee.

pub mod fetch;
mod harness;
pub mod lease;
mod run;
pub mod settle;
pub mod support;
mod table;

pub use harness::{Harness, Misfit, OpenTransaction};
pub use run::{Case, cases, run};
