//! A store and a broker in memory: real implementations that pass every suite, for tests, for
//! simulations, and for services that need no durability.

mod admin;
mod broker;
mod clock;
mod enqueue;
#[cfg(iobox_bugs)]
mod fork;
mod inbox;
mod ingest;
mod lease;
mod row;
mod source;
mod store;
mod table;

pub use broker::{MemoryBroker, Published};
pub use clock::MemoryClock;
pub use enqueue::MemoryTx;
pub use source::MemorySource;
pub use store::MemoryStore;
