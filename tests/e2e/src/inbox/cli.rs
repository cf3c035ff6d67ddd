//! The command line of an inbox: which handlers, which settings, where its orders are.

use std::{path::PathBuf, time::Duration};

use crate::place::Places;

/// Runs one inbox that reads a broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) places: Places,
    /// A handler of this name that writes into the table `effect` in its transaction; may be repeated
    #[arg(long)]
    pub(crate) book: Vec<String>,
    /// A handler of this name that appends to the log; may be repeated
    #[arg(long)]
    pub(crate) note: Vec<String>,
    /// The file that the plain handlers append to
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// The name of this run in the log
    #[arg(long, default_value = "run")]
    pub(crate) run: String,
    /// The folder in which files are orders
    #[arg(long)]
    pub(crate) orders: PathBuf,
    /// The most messages that a handler works on at once
    #[arg(long, default_value_t = 16)]
    pub(crate) concurrency: usize,
    /// The time-to-live of the leases, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    ttl: u64,
    /// After how many crashes a message that runs alone is dead
    #[arg(long, default_value_t = 3)]
    pub(crate) max_crashes: u32,
    /// The shortest backoff, in milliseconds; the longest is ten times that
    #[arg(long)]
    pub(crate) retry_base: Option<u64>,
    /// The file that says how many messages are read and not acked, or with a handler
    #[arg(long)]
    pub(crate) gauge: Option<PathBuf>,
}

impl Args {
    pub(crate) const fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl)
    }
}
