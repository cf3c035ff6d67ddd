//! Publisher and source against real servers: refusals, outages, rights, readers and writers of others.

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
mod source;
mod support;
mod trim;
