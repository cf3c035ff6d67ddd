//! What the gate sees: the calls of stores, publishers and sources.

mod publisher;
mod source;
mod store;

pub(crate) use publisher::GatedPublisher;
pub(crate) use source::GatedSource;
pub(crate) use store::GatedStore;
