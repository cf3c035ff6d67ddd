//! What is special about the SQLite store: processes, locks, transactions, migrations, damage.

#![allow(
    clippy::disallowed_methods,
    reason = "threads and processes meet here in real time"
)]

mod busy;
mod child;
mod corrupt;
mod crowd;
mod enqueue;
mod fence;
mod fixture;
mod full;
mod identifiers;
mod inbox;
mod log;
mod migration;
mod processes;
mod relay;
mod transactions;
mod wake;
