//! Conformance suites and real test servers for iobox adapters.

#![allow(
    clippy::disallowed_methods,
    reason = "test servers live on the machine's clock"
)]

pub mod servers;
