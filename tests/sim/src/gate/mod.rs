//! The fault gate in front of a store: delays, failures before and after, hanging calls, calls that
//! take effect when nobody waits for them any more, and places to die at.

mod admin;
mod call;
mod inbox;
mod store;
mod tx;

pub(crate) use call::{GatedStore, Names, UNBEGUN};
pub(crate) use tx::GatedTx;
