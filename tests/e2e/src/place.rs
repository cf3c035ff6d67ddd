//! The places: which database and which broker, as both command lines name them.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// One database, and at most one broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Places {
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

impl Places {
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
}
