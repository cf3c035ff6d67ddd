//! Dispatch: the state machine that decides the next step of each message.
//!
//! It is sans-IO: a plain struct that takes inputs (rows fetched, the outcome of one execution, a
//! reply of the store, a signal, the time) and returns [commands](Command). It has no clock, no
//! runtime and no randomness of its own, so that the simulator can drive it through any schedule.
//! The [relay](crate::relay) performs its commands on tokio.
//!
//! The files, in the order in which a message meets them:
//!
//! | file | holds |
//! |---|---|
//! | `machine.rs` | the struct, [`Machine::poll`], the deadline |
//! | `lease.rs`, `member.rs` | registration, renewal, shares, hand-over, loss |
//! | `fetch.rs` | when to fetch, how much, and what to keep of a reply |
//! | `held.rs`, `key.rs`, `work.rs` | rows in memory, the order of a key, a partition |
//! | `doubt.rs` | what an owner that died may have executed |
//! | `execute.rs`, `solo.rs`, `straggler.rs` | what runs next, what runs alone, what is waited for |
//! | `judge.rs`, `sent.rs`, `retry.rs`, `breaker.rs` | from an outcome to a verdict |
//! | `settle.rs` | batches of settlements and their replies |
//! | `drain.rs` | the end |

mod breaker;
mod bug;
mod command;
mod doubt;
mod drain;
mod event;
mod execute;
mod fetch;
#[cfg(iobox_bugs)]
mod fork;
mod held;
mod judge;
mod key;
mod lease;
mod machine;
mod member;
mod outcome;
mod retry;
mod sent;
mod settings;
mod settle;
mod solo;
mod straggler;
mod time;
mod work;

pub use breaker::{BreakerPolicy, BreakerState};
pub use bug::Bug;
pub use command::{CallId, Command, RunId};
pub use event::{Event, Failure};
pub use machine::Machine;
pub use outcome::Outcome;
pub use retry::RetryPolicy;
pub use settings::{DeadLetterPolicy, Settings};
pub use time::Time;
