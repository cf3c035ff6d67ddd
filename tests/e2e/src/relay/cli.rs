//! The command line of a relay: which settings, which faults.

use std::{path::PathBuf, time::Duration};

use crate::place::Places;

/// Runs one relay that publishes to a log file, or to a broker and then logs what that confirmed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) places: Places,
    /// The file that accepted messages are appended to
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// The name of this run in the log
    #[arg(long, default_value = "run")]
    pub(crate) run: String,
    /// The most messages of one fetch, settle and publish
    #[arg(long, default_value_t = 1_000)]
    pub(crate) batch: usize,
    /// The most messages that are sent and not answered
    #[arg(long, default_value_t = 1_000)]
    pub(crate) max_in_flight: usize,
    /// The time-to-live of the lease, in milliseconds; timeouts follow from it
    #[arg(long, default_value_t = 10_000)]
    ttl: u64,
    /// After how many crashes a message that runs alone is dead
    #[arg(long, default_value_t = 3)]
    pub(crate) max_crashes: u32,
    /// How long messages in flight may take at a shutdown, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    grace: u64,
    /// The shortest backoff, in milliseconds
    #[arg(long, default_value_t = 100)]
    retry_base: u64,
    /// Publishes also to a Redis that keeps nothing
    #[arg(long)]
    pub(crate) volatile: bool,
    /// The file that says how many messages a broker was given and has not answered
    #[arg(long)]
    pub(crate) gauge: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) faults: Faults,
}

/// What the broker does wrong. A real one knows of --hold-after alone.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Faults {
    /// How long each publish takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub(crate) delay: u64,
    /// A key whose messages take longer, and how many milliseconds, as KEY=MS
    #[arg(long, value_parser = slow_key)]
    pub(crate) slow_key: Option<(String, u64)>,
    /// Aborts the process when it publishes the message with this id
    #[arg(long)]
    pub(crate) killer: Option<String>,
    /// Rejects the message with this id for ever; may be repeated
    #[arg(long)]
    pub(crate) reject: Vec<String>,
    /// While this file exists, the broker is not available
    #[arg(long)]
    pub(crate) unavailable_while: Option<PathBuf>,
    /// After so many messages, logs one batch more, prints SENT and never reports it
    #[arg(long)]
    pub(crate) hold_after: Option<usize>,
    /// Reports messages as accepted, prints REPORTED, and appends them only so many milliseconds
    /// later: a broken publisher, for the tests of the tests
    #[arg(long)]
    pub(crate) report_before_append: Option<u64>,
}

impl Args {
    /// How long one publish may take; it fits into a lease together with the settle.
    pub(crate) fn publish_timeout(&self) -> Duration {
        self.ttl() * 2 / 5
    }

    pub(crate) const fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl)
    }

    pub(crate) const fn grace(&self) -> Duration {
        Duration::from_millis(self.grace)
    }

    pub(crate) const fn retry_base(&self) -> Duration {
        Duration::from_millis(self.retry_base)
    }
}

fn slow_key(text: &str) -> Result<(String, u64), String> {
    let (key, millis) = text.split_once('=').ok_or("write it as KEY=MS")?;
    let millis = millis.parse().map_err(|_| "MS is not a number")?;
    Ok((key.to_owned(), millis))
}
