//! The facade: everything of iobox behind one name and one feature for each backend.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(inline)]
pub use iobox_core::*;

/// The code of the guide for operations is tried too.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../docs/operations.md")]
mod operations {}

/// NATS JetStream: the publisher and the source.
#[cfg(feature = "nats")]
#[doc(inline)]
pub use iobox_nats as nats;

/// The Postgres store.
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use iobox_postgres as postgres;

/// The Redis Streams publisher and source.
#[cfg(feature = "redis")]
#[doc(inline)]
pub use iobox_redis as redis;

/// The SQLite store.
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use iobox_sqlite as sqlite;
