//! NATS JetStream for iobox, on async-nats: a publisher, and a source.
//!
//! [`JetStreamPublisher`] implements [`Publisher`](iobox_core::publisher::Publisher): it writes each
//! message into one stream, under its topic behind a prefix, and reports each acknowledgement the
//! moment it arrives.
//!
//! ```no_run
//! use iobox_core::{Relay, memory::MemoryStore};
//! use iobox_nats::{Config, JetStreamPublisher, StreamSettings};
//!
//! # async fn example(store: MemoryStore) -> iobox_core::Result<()> {
//! let config = Config::builder("nats://localhost:4222", "ORDERS")
//!     .prefix("shop") // orders.created goes to the subject shop.orders.created
//!     .create_stream(StreamSettings::new())
//!     .build()?;
//! let relay = Relay::builder(store, JetStreamPublisher::new(config)).build()?;
//! relay.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`JetStreamSource`] implements [`Source`](iobox_core::source::Source): an inbox reads a stream with it,
//! whoever wrote what stands there.
//!
//! ```no_run
//! use iobox_core::{Inbox, Router, handler::{self, HandlerError}, memory::MemoryStore, message::Message};
//! use iobox_nats::{JetStreamSource, SourceConfig};
//!
//! # async fn example(store: MemoryStore) -> iobox_core::Result<()> {
//! let mut router = Router::new();
//! let print = |message: Message| async move {
//!     println!("{}", message.topic());
//!     Ok::<_, HandlerError>(())
//! };
//! router.on("orders.*", "print", handler::from_fn(print));
//! let config = SourceConfig::builder("nats://localhost:4222", "ORDERS", "billing")
//!     .prefix("shop") // the subject shop.orders.created is the topic orders.created
//!     .build()?;
//! let inbox = Inbox::builder(store, router).source(JetStreamSource::new(config));
//! inbox.build()?.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A user who reads needs to publish to `$JS.API.STREAM.INFO`, `$JS.API.CONSUMER` and `$JS.ACK` of the stream,
//! and to subscribe to `_INBOX.>`. To notice numbers that were given again, and to get past entries that
//! no client can read, he also needs `$JS.API.STREAM.MSG.GET`, and on a work queue
//! `$JS.API.STREAM.MSG.DELETE`.
//!
//! What stands on the wire, `docs/wire.md` describes for readers in any language.
//!
//! Keep the log of `async_nats` at `debug` or above: at `trace` it writes the headers of every message,
//! keys included, and the payload of every message that is read. It says "auth callback failed" when a
//! connection is lost, which is how a client here is kept from connecting twice.
//!
//! # Layout
//!
//! * `config`, `access`, `address`, `subject`: settings, servers and subjects, checked once.
//! * `publisher`: the trait; `batch`: messages out and acknowledgements in; `link`: which connection is used, and when a new one is tried.
//! * `session`: one connection, from its handshake to its end; `acks`: replies find their calls.
//! * `probe`: what is asked of a stream, and what to change when it is refused; `stream`: making one.
//! * `wire`: the headers of a message.
//! * `source`: reading; its own map says which file holds what.
//! * `error`: one table from what the driver and the server say to what the relay should do.

#![forbid(unsafe_code)]

mod access;
mod acks;
mod address;
mod batch;
mod config;
mod error;
mod link;
mod probe;
mod publisher;
mod session;
mod source;
mod stream;
mod subject;
#[cfg(feature = "tls")]
mod tls;
pub mod wire;

pub use config::{Config, ConfigBuilder};
pub use publisher::JetStreamPublisher;
pub use source::{JetStreamSource, SourceConfig, SourceConfigBuilder};
pub use stream::StreamSettings;
pub use subject::Prefix;
