//! The cable: TCP between clients and a server, which tests break in every way that networks do.
//!
//! | file | holds |
//! |---|---|
//! | `fault.rs` | what can be wrong |
//! | `line.rs` | what is wrong at the moment, for every connection |
//! | `connection.rs` | one connection, handed on |
//! | `whole.rs` | the cable |

mod connection;
mod fault;
mod line;
mod whole;

pub use fault::{Ending, Fault, Reach, Way};
pub use whole::Cable;
