//! Conformance suites and real test servers for iobox adapters.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "test servers live on the machine's clock"
)]

pub mod broker;
pub mod hostile;
mod poll;
pub mod servers;
pub mod source;
pub mod suite;

pub use poll::poll_n_then_drop;
