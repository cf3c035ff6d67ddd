//! The publisher against real servers: refusals, outages, rights, and a foreign reader.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real servers live on the machine's clock"
)]

mod durable;
mod foreign;
mod login;
mod outage;
mod refusal;
mod secrets;
mod silence;
mod support;
mod trim;
