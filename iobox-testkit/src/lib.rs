//! Conformance suites and real test servers for iobox adapters.

#![forbid(unsafe_code)]

pub mod suite;
