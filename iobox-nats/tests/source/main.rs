//! The source against real servers: what is read, from where, by whom, and what a reader leaves behind.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real servers wait on the machine's clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod certified;
mod changes;
mod desk;
mod inbox;
mod outages;
mod resuming;
mod start;
mod unordered;
mod unreadable;
mod wire;
