//! What is special about the SQLite store: processes, locks, transactions, migrations, damage.

mod busy;
mod child;
mod corrupt;
mod crowd;
mod enqueue;
mod fence;
mod fixture;
mod identifiers;
mod migration;
mod processes;
mod relay;
mod transactions;
mod wake;
