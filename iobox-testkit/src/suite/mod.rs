//! The conformance suite that certifies a store.
//!
//! An adapter writes a [`Harness`] and calls [`store_suite!`](crate::store_suite); every case
//! becomes a test of its own. [`cases`] lists what they guarantee: each case is one sentence, and
//! its test fails when the sentence is not true of the store.
//!
//! # A harness
//!
//! This is the whole harness of the store in memory:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use iobox_core::{
//!     Result,
//!     memory::{MemoryStore, MemoryTx},
//!     message::{Draft, MessageId},
//!     partition::Partitions,
//!     store::{Enqueue, Enqueued},
//! };
//! use iobox_testkit::suite::{Harness, Misfit, OpenTransaction};
//!
//! struct Memory(Arc<MemoryStore>);
//!
//! #[async_trait::async_trait]
//! impl Harness for Memory {
//!     type Store = MemoryStore;
//!     type Open = Open;
//!     const CONCURRENT_WRITERS: bool = true;
//!     const REFUSES_MISFITS: bool = false;
//!
//!     async fn fresh(partitions: Partitions) -> Self {
//!         Self(Arc::new(MemoryStore::new(partitions)))
//!     }
//!     fn store(&self) -> &Arc<MemoryStore> {
//!         &self.0
//!     }
//!     async fn another(&self) -> Arc<MemoryStore> {
//!         Arc::clone(&self.0)
//!     }
//!     async fn begin(&self) -> Result<Open> {
//!         Ok(Open(Arc::clone(&self.0), self.0.begin()))
//!     }
//!     async fn advance(&self, by: Duration) {
//!         self.0.clock().advance(by);
//!     }
//!     async fn corrupt(&self, id: &MessageId) {
//!         self.0.corrupt(id, "topic breaks a bound");
//!     }
//!     async fn misfit(_: Misfit) -> Option<Arc<MemoryStore>> {
//!         None
//!     }
//! }
//!
//! struct Open(Arc<MemoryStore>, MemoryTx);
//!
//! #[async_trait::async_trait]
//! impl OpenTransaction for Open {
//!     async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
//!         self.0.enqueue(&mut self.1, drafts).await
//!     }
//!     async fn commit(self) -> Result<()> {
//!         self.1.commit()
//!     }
//!     async fn rollback(self) -> Result<()> {
//!         self.1.rollback();
//!         Ok(())
//!     }
//! }
//!
//! iobox_testkit::store_suite!(Memory);
//! # iobox_testkit::suite::run(iobox_testkit::suite::program::random_programs::<Memory>(2, 20, 1));
//! ```
//!
//! # What a store may choose
//!
//! The suite asks for no more than the traits promise. A store may wake its listeners at a commit
//! of its own; may pass over a partition that somebody has locked, when it grants; may choose which
//! due retries come when a limit leaves some out; may report a change of another kind that left the
//! row looking alike as applied; may refuse a racing duplicate with
//! [`Conflict`](iobox_core::ErrorKind::Conflict), at the enqueue or at the commit.
//!
//! # Random programs
//!
//! The case [`program`] runs sequences of operations that are drawn from a seed and compares the
//! store with a [`model`] after each. A failure prints the seed and the operations. The environment
//! variable `IOBOX_SUITE_SEED` sets the first seed; [`random_programs`](program::random_programs)
//! runs more and longer ones.

pub mod blocked;
pub mod cancel;
pub mod corrupt;
pub mod dead;
pub mod discard;
pub mod duplicate;
pub mod enqueue;
pub mod fence;
pub mod fetch;
pub mod halt;
pub mod handover;
mod harness;
pub mod hostile;
pub mod inbox;
pub mod late;
pub mod lease;
pub mod list;
pub mod model;
pub mod open;
pub mod order;
pub mod polled;
pub mod program;
pub mod purge;
pub mod race;
pub mod replay;
pub mod retry;
mod run;
pub mod settle;
pub mod share;
pub mod stats;
pub mod support;
pub mod suspect;
mod table;
pub mod waiting;
pub mod wake;

pub use harness::{Harness, Misfit, OpenTransaction};
#[doc(hidden)]
pub use run::test;
pub use run::{Case, cases, run};
pub(crate) use run::{
    STUCK_AFTER, capabilities, checks, files, noted, read_all, run_within, sheet,
};
