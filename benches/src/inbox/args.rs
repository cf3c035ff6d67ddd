//! The arguments of the benchmark of the inbox.

use crate::relay::Stores;

/// Messages per second that an inbox ingests and handles, and of a bare loop.
///
/// The bare loop inserts a row that knows the message and a row of effect, in one transaction for each
/// message: what a consumer without iobox does at least. It keeps no order and has no leases, retries or
/// dead letters.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages each of them moves in a round
    #[arg(long, default_value_t = 20_000)]
    pub(crate) messages: usize,
    /// Over how many ordering keys they are spread
    #[arg(long, default_value_t = 1_000)]
    pub(crate) keys: usize,
    /// How many times each is measured, in turns
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// Which store: postgres, sqlite or both
    #[arg(long, value_enum, default_value_t = Stores::Both)]
    pub(crate) store: Stores,
    /// How long the latency is measured, in seconds; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u32,
    /// Messages per second while the latency is measured
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,
    /// Fail when the transactional handler reaches less than this share of the bare loop
    #[arg(long, value_name = "RATIO")]
    pub(crate) check: Option<f64>,
}
