//! Commands: what the machine asks its driver to do.

use crate::{
    message::Message,
    store::{AcquireRequest, FetchRequest, ReleaseRequest, RenewRequest, Settlement},
};

/// The number of a fetch or settle, to match its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// The number of one execution of one message, to match its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub(super) u64);

/// What to do next. Each is answered by one call of the method that it names, whatever happens:
/// a call that fails or times out is answered with its error.
#[derive(Debug, Clone)]
pub enum Command {
    /// Renew the instance, on a path that no other command can hold up; answer with
    /// [`renewed`](super::Machine::renewed).
    Renew(RenewRequest),
    /// Acquire partitions; answer with [`acquired`](super::Machine::acquired).
    Acquire(AcquireRequest),
    /// Release partitions; answer with [`released`](super::Machine::released).
    Release(ReleaseRequest),
    /// Fetch; answer with [`fetched`](super::Machine::fetched).
    Fetch(CallId, FetchRequest),
    /// Settle; answer with [`settled`](super::Machine::settled).
    Settle(CallId, Vec<Settlement>),
    /// Execute these messages, no two of which share an ordering key; answer each with
    /// [`outcome`](super::Machine::outcome).
    Execute(Vec<(RunId, Message)>),
    /// Ask the broker whether it is there; answer with [`probed`](super::Machine::probed).
    Probe,
}
