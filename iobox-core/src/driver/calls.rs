//! Calls of the store, each bounded in time, each answered once.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    Error, Result,
    dispatch::{CallId, Command},
    publisher::Durability,
    store::{Acquired, Fetched, Renewed, Settled, Store},
};

/// A reply for the machine.
#[derive(Debug)]
pub(super) enum Reply {
    Renewed(Result<Renewed>),
    Acquired(Result<Acquired>),
    Released(Result<()>),
    Fetched(CallId, Result<Fetched>),
    Settled(CallId, Result<Vec<Settled>>),
    Probed(Result<Durability>),
}

/// How long the calls of a store may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Renewing, acquiring and releasing.
    pub(super) lease: Duration,
    pub(super) fetch: Duration,
    pub(super) settle: Duration,
}

/// Performs a command of the store. The result says nothing of what a call that timed out did.
pub(super) async fn perform(
    store: Arc<dyn Store>,
    command: Command,
    timeouts: Timeouts,
) -> Option<Reply> {
    let reply = match command {
        Command::Renew(request) => {
            Reply::Renewed(within(timeouts.lease, "renew", store.renew(&request)).await)
        }
        Command::Acquire(request) => {
            Reply::Acquired(within(timeouts.lease, "acquire", store.acquire(&request)).await)
        }
        Command::Release(request) => {
            Reply::Released(within(timeouts.lease, "release", store.release(&request)).await)
        }
        Command::Fetch(call, request) => Reply::Fetched(
            call,
            within(timeouts.fetch, "fetch", store.fetch(&request)).await,
        ),
        Command::Settle(call, settlements) => Reply::Settled(
            call,
            within(timeouts.settle, "settle", store.settle(&settlements)).await,
        ),
        Command::Execute(_) | Command::Probe => return None,
    };
    Some(reply)
}

/// Gives a call up that does not end. A store may be behind a network that says nothing.
pub(crate) async fn within<T>(
    limit: Duration,
    call: &str,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| {
        Err(Error::unavailable(format!(
            "{call} did not end within {limit:?}"
        )))
    })
}
