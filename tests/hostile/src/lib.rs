//! Hostile input: the fuzz targets of every parser and codec, and what adapters must make of bad
//! settings.
//!
//! A [`Target`] is a function of bytes that must not panic whatever they are; what it asserts besides
//! holds for every input. `tests/input/smoke.rs` drives each with mangled seeds on the stable toolchain, in
//! every run of the tests; `fuzz/` drives the same functions with libFuzzer.

#![forbid(unsafe_code)]

pub mod settings;
pub mod targets;

pub use targets::{TARGETS, Target};
