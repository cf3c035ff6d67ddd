//! The inbox: subscriptions, receiving, and the transactions of handlers.

mod ingest;
mod receive;
mod routing;
mod subscribe;
mod transact;

pub(super) use routing::Routing;
