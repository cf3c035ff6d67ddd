//! The Redis Streams publisher of iobox, on redis-rs.
//!
//! [`RedisPublisher`] implements [`Publisher`](iobox_core::publisher::Publisher) on Redis 6.2 and
//! later and on Valkey. Each topic is a stream of its own, each message an entry of it:
//!
//! ```no_run
//! use iobox_core::{Relay, memory::MemoryStore, partition::Partitions};
//! use iobox_redis::{Config, RedisPublisher};
//!
//! # async fn example() -> iobox_core::Result<()> {
//! let config = Config::builder("redis://127.0.0.1:6379").build()?;
//! let publisher = RedisPublisher::new(config);
//!
//! let store = MemoryStore::new(Partitions::DEFAULT); // a real one in a real program
//! Relay::builder(store, publisher).build()?.run(async {}).await
//! # }
//! ```
//!
//! What an entry holds stands in `docs/wire.md`, for readers in any language. Redis keeps every copy
//! that it is given: a message whose outcome was unknown may stand in its stream twice, with the
//! same `id`.
//!
//! # What Redis must be set to
//!
//! By default Redis forgets almost everything that it confirmed when its process dies. The relay
//! therefore asks at start, and refuses a server without an append-only file, one that evicts keys
//! without a time-to-live, a replica, and a node of a cluster; each refusal says what to change.
//! [`allow_volatile`](ConfigBuilder::allow_volatile) turns the first two into warnings.
//!
//! | setting | a confirmed message survives |
//! |---|---|
//! | `appendonly yes`, `appendfsync always` | a power cut |
//! | `appendonly yes`, `appendfsync everysec` or `no` | the death of the server's process, except for up to two seconds while its disk is too slow to sync |
//! | `appendonly no` | nothing |
//!
//! Replication does not change this: a fail-over loses what the new primary had not received.
//!
//! # Rights
//!
//! A user that may do no more than this passes the whole conformance suite, `iobox:` being the
//! [prefix](ConfigBuilder::prefix): `~iobox:* +xadd +info +role +config|get`. Without `config|get` the
//! publisher cannot see how often Redis syncs and reports the weaker durability.
//!
//! # Layout
//!
//! * `config`: settings, checked once.
//! * `publisher`: the trait; `connection`: the one connection, made again at most once a second.
//! * `wire`: what a stream is called and what an entry holds.
//! * `durability`: what the server tells of itself, and what that is worth.
//! * `error`: one table from the server's error codes to what becomes of the message.

#![forbid(unsafe_code)]

mod config;
mod connection;
mod durability;
mod error;
mod publisher;
mod source;
mod wire;

pub use config::{Config, ConfigBuilder};
pub use publisher::RedisPublisher;
pub use source::{RedisSource, RedisSourceBuilder};
