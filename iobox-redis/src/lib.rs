//! The Redis Streams publisher and source of iobox, on redis-rs.
//!
//! [`RedisPublisher`] implements [`Publisher`](iobox_core::publisher::Publisher), and [`RedisSource`]
//! implements [`Source`](iobox_core::source::Source), on Redis 6.2 and later and on Valkey. Each topic
//! is a stream of its own, each message an entry of it:
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
//! Relay::builder(store, publisher).build()?.run(std::future::pending()).await
//! # }
//! ```
//!
//! What an entry holds stands in `docs/wire.md`, for readers in any language. Redis keeps every copy
//! that it is given: a message whose outcome was unknown may stand in its stream twice, with the
//! same `id`.
//!
//! # Reading
//!
//! ```no_run
//! use iobox_core::{
//!     Inbox, Router, handler::{self, HandlerError}, inbox::SourceName, memory::MemoryStore,
//!     message::Message, partition::Partitions,
//! };
//! use iobox_redis::{Config, RedisSource};
//!
//! # async fn example() -> iobox_core::Result<()> {
//! let config = Config::builder("redis://127.0.0.1:6379").build()?;
//! let orders = RedisSource::builder(config, SourceName::new("orders")?)
//!     .topic("orders.created")
//!     .topic("orders.paid")
//!     .build()?;
//!
//! let mut router = Router::new();
//! router.on("orders.*", "note", handler::from_fn(|_: Message| async {
//!     Ok::<_, HandlerError>(())
//! }));
//! let store = MemoryStore::new(Partitions::DEFAULT); // a real one in a real program
//! Inbox::builder(store, router).source(orders).build()?.run(std::future::pending()).await
//! # }
//! ```
//!
//! **In order**, which is the default: one instance at a time reads all streams with one `XREAD`, from
//! the stored position on. The order of a key holds within a stream, so for each topic by itself, and
//! not across topics. A consumer group with the name of the source is moved along after each commit
//! and never read from; its lag says what is not stored yet, and what lies at or below its
//! `last-delivered-id` may be trimmed. No stream is made.
//!
//! **Without an order** ([`unordered`](RedisSourceBuilder::unordered)): every instance reads with a
//! consumer of its own in that group and acks what is stored. What an instance leaves when it dies is
//! taken over by the others after [`claim_after`](RedisSourceBuilder::claim_after); its name stays in
//! the list of consumers. A reader that ends in peace takes its name away. Streams that are not there
//! are made.
//!
//! Redis bounds a reply in entries only. At most 256 are asked for at a time, or one of each stream,
//! and fewer when those that came before were large; what does not fit into a batch waits in memory
//! for the next.
//!
//! ## What is told as lost
//!
//! * In order, on Redis 7.0 and later: how many entries were removed before they were read, exactly
//!   and once; those that were deleted by name in the middle of others, as soon as all others are
//!   read. On 6.2: one, when a stream is empty that has got entries since.
//! * What was removed before a source ever read the stream is not lost to it.
//! * Without an order: what was removed after an instance had been given it. Nobody knows of the rest.
//!
//! ## A stream that was deleted and made anew
//!
//! An ordered source reads it from its beginning, with an error in the log, when it has lower ids than
//! were read, or has got fewer entries than were read (7.0), or no entry of it can be one that was
//! read (7.0). It cannot tell a new stream that has got as many entries as the old one, some of them
//! with ids below the position: that takes ids that producers choose, or a clock that went back.
//! It looks behind each read that brought entries, so that one of the new stream is never taken for
//! one of the old: what such a read brought is read again.
//!
//! A server that forgot the end of a stream, by a crash or a fail-over, still has its first entry. If a
//! clock made the id of that, the stream is read on behind what is left of it, and ids of messages
//! stay. If the first entry was trimmed meanwhile, the stream counts as a new one.
//!
//! ## Other programs
//!
//! An entry is a message of an outbox if it has `id` in the form of the wire, `topic` and `payload`.
//! Any other is a message of its stream's topic without a key:
//!
//! * its payload is the field `payload`, else the field `data`, and its other fields are left out;
//!   without both, all fields as a JSON object in their order, with `content-type: application/json`;
//! * its id is `<key of the stream>/<id of the entry>`, and behind that `/1`, `/2`, … in a stream that
//!   an ordered source saw made anew; or the value of a field, if
//!   [`foreign_id`](RedisSourceBuilder::foreign_id) names one.
//!   [`foreign_key`](RedisSourceBuilder::foreign_key) names one for the ordering key.
//!
//! An entry that can be no message (bytes that would have to be JSON, a field twice, a payload beyond
//! the bound of the store) is refused: told with stream and id, and passed by.
//!
//! # What Redis must be set to
//!
//! By default Redis forgets almost everything that it confirmed when its process dies. The relay
//! therefore asks at start, and refuses a server without an append-only file, one that evicts keys
//! without a time-to-live, a replica, and a node of a cluster; each refusal says what to change.
//! [`allow_volatile`](ConfigBuilder::allow_volatile) turns the first two into warnings, which they
//! always are to a source.
//!
//! | setting | a confirmed message survives |
//! |---|---|
//! | `appendonly yes`, `appendfsync always` | a power cut |
//! | `appendonly yes`, `appendfsync everysec` or `no` | the death of the server's process, except for up to two seconds while its disk is too slow to sync |
//! | `appendonly no` | nothing |
//!
//! Replication does not change this: a fail-over loses what the new primary had not received.
//!
//! Readers that wait were a way into servers from 7.2.0 to 8.6.2 (CVE-2026-23479): use 8.6.3 or later,
//! or a release of an older line that has the correction.
//!
//! # Rights
//!
//! Users that may do no more than this pass the whole conformance suites, `iobox:` being the
//! [prefix](ConfigBuilder::prefix):
//!
//! | | |
//! |---|---|
//! | publisher | `~iobox:* +xadd +info +role +config\|get` |
//! | source | `~iobox:* +xread +xinfo\|stream +xgroup\|setid +xgroup\|create +time +info +role +config\|get` |
//! | source without an order | `~iobox:* +xreadgroup +xautoclaim +xack +xpending +xinfo\|stream +xgroup\|create +xgroup\|delconsumer +time +info +role +config\|get` |
//!
//! Without `config|get` it cannot be seen how often Redis syncs, and the weaker durability is reported.
//!
//! # Layout
//!
//! * `config`: settings, checked once.
//! * `publisher`: the trait; `source`: the trait, and the two readers.
//! * `connection`: the one that publishing shares, made again at most once a second, and those of
//!   readers.
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
