//! Outbox and inbox over networks that break: the same scripts of faults against Postgres, NATS and
//! Redis.
//!
//! A [`Script`] is a schedule of the faults of a [`Cable`](iobox_testkit::servers::Cable). While it runs,
//! messages go their whole way: from an outbox through a relay to a broker, and through an inbox to a
//! transactional handler. The server that the cable leads to is the database of both, or the broker
//! between them. Afterwards everything must have arrived, once, in order, and soon.
//!
//! | file | holds |
//! |---|---|
//! | `script.rs`, `table.rs` | what a script is, and the scripts |
//! | `gate.rs`, `gated/` | where calls pass by on their way, so that a fault meets the call it is for |
//! | `driver/` | what runs against each server |
//! | `load.rs`, `run.rs` | the messages, and a run of a script |
//! | `ledger.rs`, `check.rs` | what happened, and what must hold of it |

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "networks live on the machine's clock"
)]

mod check;
pub mod driver;
mod gate;
mod gated;
mod ledger;
mod load;
mod run;
mod script;
mod table;

pub use run::run;
pub use script::{Event, Script, Step};
pub use table::SCRIPTS;
