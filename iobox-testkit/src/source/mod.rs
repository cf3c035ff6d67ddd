//! The conformance suite that certifies a source.
//!
//! An adapter writes a [`Harness`] and calls [`source_suite!`](crate::source_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee: each case is one sentence, and
//! its test fails when the sentence is not true of the source and its broker.
//!
//! # A harness
//!
//! This is the whole harness of the broker in memory, which is always there and forgets nothing:
//!
//! ```
//! use std::sync::Arc;
//!
//! use iobox_core::{
//!     Result, inbox::SourceName, memory::{MemoryBroker, MemorySource}, message::Message,
//!     publisher::{Outcomes, Publisher},
//! };
//! use iobox_testkit::source::Harness;
//!
//! struct Memory(MemoryBroker, Arc<MemorySource>);
//!
//! #[async_trait::async_trait]
//! impl Harness for Memory {
//!     type Source = MemorySource;
//!     const KEEPS_HEADER_ORDER: bool = true;
//!     const ONE_ORDER: bool = true;
//!     const TAKES_FOREIGN: bool = false;
//!     const CAN_BE_TRIMMED: bool = false;
//!     const CAN_BE_REMADE: bool = false;
//!     const CAN_BE_CUT: bool = false;
//!
//!     async fn fresh() -> Self {
//!         let broker = MemoryBroker::new();
//!         let name = SourceName::new("log").expect("a name");
//!         Self(broker.clone(), Arc::new(broker.source(name)))
//!     }
//!     fn source(&self) -> &Arc<MemorySource> {
//!         &self.1
//!     }
//!     async fn another(&self) -> Result<Arc<MemorySource>> {
//!         Ok(Arc::clone(&self.1))
//!     }
//!     async fn publish(&self, messages: &[Message]) {
//!         let mut outcomes = Outcomes::new(messages.len(), |_, outcome| {
//!             outcome.expect("it is taken");
//!         });
//!         self.0.publish(messages, &mut outcomes).await;
//!     }
//!     async fn foreign(&self, _: &[u8]) {}
//!     async fn trim(&self, _: usize) {}
//!     async fn remake(&self) {}
//!     async fn mute(&self) {}
//!     async fn cut(&self) {}
//!     async fn mend(&self) {}
//! }
//!
//! iobox_testkit::source_suite!(Memory);
//! # iobox_testkit::suite::run(iobox_testkit::source::read::topics_keep_their_order::<Memory>());
//! ```

mod harness;
mod list;
pub mod outage;
pub mod read;
pub mod refuse;
pub mod resume;
pub mod support;
mod table;

pub use harness::Harness;
pub use list::cases;
#[doc(hidden)]
pub use list::test;
pub(crate) use list::{checks, sheet};
