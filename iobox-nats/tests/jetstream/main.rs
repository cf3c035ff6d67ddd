//! What is special to JetStream, against real servers: what is refused at start, what a relay
//! survives, and what a call leaves behind.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real servers wait on the machine's clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod foreign;
mod outages;
mod relaying;
mod silence;
mod start;
