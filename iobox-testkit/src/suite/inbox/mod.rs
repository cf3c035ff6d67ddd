//! The conformance suite that certifies the inbox half of a store.
//!
//! A store that implements [`Transact`](iobox_core::store::Transact) and
//! [`Ingest`](iobox_core::store::Ingest) calls [`inbox_suite!`](crate::inbox_suite) with the
//! [harness](super::Harness) of its store suite. Cases of [`handle`], [`observe`],
//! [`rehearse`] and [`source`] run inboxes, the others call the store.

pub mod handle;
pub mod hostile;
pub mod ingest;
mod list;
pub mod observe;
pub mod polled;
pub mod receive;
pub mod rehearse;
pub mod source;
pub mod subscribe;
pub mod support;
mod table;
pub mod takeover;
pub mod transact;

pub use list::cases;
#[doc(hidden)]
pub use list::test;
pub(crate) use list::{checks, sheet};
