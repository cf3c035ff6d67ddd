//! Conformance suites and real test servers for iobox adapters.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "test servers live on the machine's clock"
)]

pub mod broker;
mod certify;
pub mod fault;
pub mod guarantee;
pub mod hostile;
mod poll;
pub mod servers;
pub mod sheet;
pub mod source;
pub mod suite;

pub use certify::Certification;
pub use poll::poll_n_then_drop;

/// The code of the guide is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing_adapters.md")]
mod writing_adapters {}
