//! The command line: which database, which broker, which settings, which faults.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};

/// Runs one relay that publishes to a log file, or to a broker and then logs what that confirmed.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// The URL of a Postgres; needs --schema
    #[arg(long, requires = "schema", conflicts_with = "sqlite")]
    postgres: Option<String>,
    /// The schema of the tables
    #[arg(long)]
    schema: Option<String>,
    /// A SQLite file
    #[arg(long)]
    sqlite: Option<PathBuf>,
    /// The URL of a NATS; needs --stream
    #[arg(long, requires = "stream", conflicts_with = "redis")]
    nats: Option<String>,
    /// The stream in JetStream, which exists; its name is the prefix of the subjects too
    #[arg(long)]
    stream: Option<String>,
    /// The URL of a Redis; needs --prefix
    #[arg(long, requires = "prefix")]
    redis: Option<String>,
    /// The prefix of the streams in Redis
    #[arg(long)]
    prefix: Option<String>,
    /// The file that accepted messages are appended to
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// The name of this run in the log
    #[arg(long, default_value = "run")]
    pub(crate) run: String,
    /// Ends when the input is closed, so that no process outlives its parent
    #[arg(long)]
    pub(crate) leash: bool,
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

/// Where the messages are.
#[derive(Debug)]
pub(crate) enum Database<'a> {
    Postgres { url: &'a str, schema: &'a str },
    Sqlite { file: &'a PathBuf },
}

/// Where the messages go.
#[derive(Debug)]
pub(crate) enum Broker<'a> {
    Log,
    JetStream { url: &'a str, stream: &'a str },
    Redis { url: &'a str, prefix: &'a str },
}

impl Args {
    pub(crate) fn database(&self) -> Result<Database<'_>> {
        match (&self.postgres, &self.schema, &self.sqlite) {
            (Some(url), Some(schema), None) => Ok(Database::Postgres { url, schema }),
            (None, _, Some(file)) => Ok(Database::Sqlite { file }),
            _ => bail!("name one database: --postgres URL --schema NAME, or --sqlite FILE"),
        }
    }

    pub(crate) fn broker(&self) -> Result<Broker<'_>> {
        match (&self.nats, &self.stream, &self.redis, &self.prefix) {
            (None, None, None, None) => Ok(Broker::Log),
            (Some(url), Some(stream), None, None) => Ok(Broker::JetStream { url, stream }),
            (None, None, Some(url), Some(prefix)) => Ok(Broker::Redis { url, prefix }),
            _ => bail!(
                "name one broker: --nats URL --stream NAME, --redis URL --prefix TEXT, or none"
            ),
        }
    }

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Args::command().debug_assert();
    }
}
