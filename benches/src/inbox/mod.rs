//! The inbox: what is ingested and handled per second, against the least that any consumer must do.

mod args;
mod bare;
mod latency;
mod measure;
mod postgres;
mod rate;
mod sqlite;

pub(crate) use args::Args;
pub(crate) use measure::measure;
