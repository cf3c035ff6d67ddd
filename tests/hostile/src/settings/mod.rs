//! Settings of the adapters: tables of hostile ones, and the constructors that judge them.

mod nats;
mod postgres;
mod redis;
mod sqlite;
mod topics;

pub use nats::{nats_prefix, nats_prefixes, nats_servers, nats_stream, nats_streams, nats_urls};
pub use postgres::{postgres_name, postgres_names, postgres_urls};
pub use redis::{redis_prefix, redis_prefixes, redis_server, redis_urls};
pub use sqlite::{sqlite_name, sqlite_names, sqlite_path, sqlite_paths};
pub use topics::{nats_pattern, nats_patterns};
