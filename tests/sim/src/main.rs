//! The deterministic simulator: the real relay, inbox, machine and in-memory store under drawn faults.
//!
//! One seed draws everything: the topology, the fault rates, each fault. The clock is paused, the
//! runtime has one thread, so that a seed replays to the last event. The checker reads nothing but
//! the append-only history.

#![allow(
    clippy::disallowed_methods,
    reason = "simulated time passes by itself, and its start is a clock's"
)]

mod broker;
mod bugs;
mod campaign;
mod chaos;
mod check;
mod cli;
mod cover;
mod gate;
mod handler;
mod history;
mod ids;
mod life;
#[cfg(iobox_bugs)]
mod model;
mod nemesis;
mod operator;
mod pause;
mod plan;
mod point;
mod process;
mod producer;
mod rates;
mod report;
mod seeds;
mod shrink;
mod source;
mod summary;
mod world;

fn main() -> std::process::ExitCode {
    cli::main()
}
