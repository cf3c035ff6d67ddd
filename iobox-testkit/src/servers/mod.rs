//! Real servers for tests: found, borrowed or started, and reaped at the end.
//!
//! A test asks for a server and gets one, whatever the machine has to offer:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use iobox_testkit::servers::{Postgres, unique_schema};
//!
//! let postgres = Postgres::shared()?;
//! let schema = unique_schema("claims");
//! println!("{} {} on {}", postgres.version(), schema, postgres.url());
//! # Ok(())
//! # }
//! ```
//!
//! [`Postgres::find`], [`Nats::find`] and [`Redis::find`] try, in this order:
//!
//! 1. the URL in [`POSTGRES_URL`], [`NATS_URL`] or [`REDIS_URL`], which is how `cargo xtask test`
//!    hands one server to all tests;
//! 2. the server programs in `PATH`, else the newest in the usual folders, started as a private
//!    direct child on a free port of 127.0.0.1;
//! 3. a container, with feature `containers` and where a Docker engine answers;
//! 4. as root on Debian and its kin: the package, installed by `apt-get`, then as in 2.
//!
//! A test that stops or kills its server takes one of its own, by [`Postgres::private`],
//! [`Nats::private`] or [`Redis::private`]. With feature `containers`, `Postgres::contained`,
//! `Nats::contained` and `Redis::contained` start a container, whatever else there is.
//!
//! All calls block. The servers have no daemons: each is a direct child of the process that
//! started it, is waited for when its handle is dropped, and shuts itself down when that process
//! is killed.

mod account;
mod cable;
mod children;
mod cluster;
#[cfg(feature = "containers")]
mod container;
mod daemon;
mod folder;
mod install;
mod kind;
mod nats;
mod port;
mod postgres;
mod process;
mod programs;
mod redis;
mod schema;
mod server;

pub use cable::{Cable, Ending, Fault, Reach, Way};
pub use children::{ChildProcess, adopt_orphans, children, reap};
pub use nats::{NATS_IMAGE, NATS_PRIVATE, NATS_URL, Nats, NatsBuilder};
pub use postgres::{POSTGRES_IMAGE, POSTGRES_PRIVATE, POSTGRES_URL, Postgres, PostgresBuilder};
pub use programs::Programs;
pub use redis::{REDIS_IMAGE, REDIS_PRIVATE, REDIS_URL, Redis, RedisBuilder};
pub use schema::unique_schema;
pub use server::{Origin, Server};
