//! The servers of one run: found or started once, and handed on by the environment.

use std::fmt;

use anyhow::Result;
use iobox_testkit::servers::{Nats, Postgres, Redis, Server};

/// One server of each kind.
pub(crate) struct Servers {
    postgres: Postgres,
    nats: Nats,
    redis: Redis,
}

impl Servers {
    /// Those that tests use.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self {
            postgres: Postgres::find()?,
            nats: Nats::find()?,
            redis: Redis::find()?,
        })
    }

    /// New ones in containers.
    #[cfg(feature = "containers")]
    pub(crate) fn contained() -> Result<Self> {
        Ok(Self {
            postgres: Postgres::contained()?,
            nats: Nats::contained()?,
            redis: Redis::contained()?,
        })
    }

    /// Those that benchmarks use: a database that syncs to the disk, as in production.
    pub(crate) fn durable() -> Result<Self> {
        Ok(Self {
            postgres: Postgres::builder().durable(true).find()?,
            nats: Nats::find()?,
            redis: Redis::find()?,
        })
    }

    /// The environment by which a child process finds them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.all()
            .into_iter()
            .flat_map(Server::environment)
            .collect()
    }

    /// Stops those that this process runs, and removes its containers; one that it borrowed goes on.
    pub(crate) fn stop(mut self) -> Result<()> {
        let servers: [&mut Server; 3] = [&mut self.postgres, &mut self.nats, &mut self.redis];
        let mut stopped = Ok(());
        for server in servers {
            if server.pid().is_some() {
                stopped = stopped.and(server.stop());
            }
        }
        stopped
    }

    fn all(&self) -> [&Server; 3] {
        [&self.postgres, &self.nats, &self.redis]
    }
}

/// One line for each, as in "PostgreSQL 15.18 (started from …)".
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.all().into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{server}")?;
        }
        Ok(())
    }
}
