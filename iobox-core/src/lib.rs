//! The core of iobox: messages, the traits of stores and brokers, the dispatch machine, the relay,
//! the inbox.
//!
//! No database, no broker and no wall clock: adapters bring them.

#![forbid(unsafe_code)]

pub mod dispatch;
mod driver;
mod error;
pub mod handler;
pub mod inbox;
pub mod memory;
pub mod message;
pub mod observer;
mod outbox;
pub mod partition;
pub mod publisher;
pub mod queue;
pub mod relay;
mod running;
pub mod source;
pub mod store;

pub use error::{Error, ErrorKind, Result};
pub use inbox::{Inbox, Router};
pub use outbox::Outbox;
pub use relay::{Relay, RelayHandle};
pub use store::Store;
