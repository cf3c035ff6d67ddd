//! The conformance suite that certifies a publisher.
//!
//! An adapter writes a [`Harness`] and calls [`broker_suite!`](crate::broker_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee: each case is one sentence, and
//! its test fails when the sentence is not true of the publisher and its broker.
//!
//! # A harness
//!
//! This is the whole harness of the broker in memory, which keeps one copy of a message, refuses
//! nothing, and is always there:
//!
//! ```
//! use std::sync::Arc;
//!
//! use iobox_core::{Result, memory::MemoryBroker, message::{Limits, Topic}, publisher::Durability};
//! use iobox_testkit::broker::{Harness, Stored};
//!
//! struct Memory(Arc<MemoryBroker>);
//!
//! #[async_trait::async_trait]
//! impl Harness for Memory {
//!     type Publisher = MemoryBroker;
//!     const DURABILITY: Durability = Durability::Volatile;
//!     const ABSORBS_DUPLICATES: bool = true;
//!     const KEEPS_HEADER_ORDER: bool = true;
//!     const PAYLOAD_MAX: usize = Limits::PAYLOAD_MAX;
//!     const PAYLOAD_REFUSED: Option<usize> = None;
//!     const REFUSES_TOPICS: bool = false;
//!     const CAN_BE_CUT: bool = false;
//!
//!     async fn fresh() -> Self {
//!         Self(Arc::new(MemoryBroker::new()))
//!     }
//!     fn publisher(&self) -> &Arc<MemoryBroker> {
//!         &self.0
//!     }
//!     async fn another(&self) -> Result<Arc<MemoryBroker>> {
//!         Ok(Arc::clone(&self.0))
//!     }
//!     async fn stored(&self) -> Vec<Stored> {
//!         let log = self.0.read(0, usize::MAX);
//!         log.iter().map(|one| Stored::of(&one.message)).collect()
//!     }
//!     async fn refuse(&self, _: &Topic) {}
//!     async fn mute(&self) {}
//!     async fn cut(&self) {}
//!     async fn mend(&self) {}
//! }
//!
//! iobox_testkit::broker_suite!(Memory);
//! # iobox_testkit::suite::run(iobox_testkit::broker::publish::a_message_arrives::<Memory>());
//! ```
//!
//! # The line
//!
//! A broker that runs as a server is reached through a [`Cable`](crate::servers::Cable), which the
//! harness mutes, cuts and mends; [`stored`](Harness::stored) reads past it.
//!
//! # What a publisher may choose
//!
//! The suite asks for no more than the trait promises. A publisher may sort a batch as it likes; may
//! need a few publishes until it notices that its line was cut, and reports those as unknown; may
//! absorb duplicates or keep them; may send on what it had begun when its future is dropped.

pub mod cancel;
pub mod concurrent;
pub mod duplicate;
mod harness;
pub mod headers;
mod list;
pub mod order;
pub mod outage;
pub mod payload;
pub mod probe;
pub mod publish;
pub mod refuse;
mod stored;
pub mod support;
mod table;
pub mod text;

pub use harness::Harness;
pub use list::cases;
#[doc(hidden)]
pub use list::test;
pub(crate) use list::{checks, sheet};
pub use stored::Stored;
