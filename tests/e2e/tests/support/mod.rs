//! What the tests share: databases, brokers, writers, processes, the checker.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod broker;
pub(crate) mod checker;
pub(crate) mod cutter;
pub(crate) mod database;
pub(crate) mod flow;
pub(crate) mod inbox;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod standby;
pub(crate) mod writers;

use std::time::{Duration, Instant};

use iobox::ErrorKind;

/// How long anything may take that has to happen. Nothing waits for so long unless it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// How often a state is looked at that nothing announces.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Waits until `done` says yes.
///
/// # Panics
/// When it does not within `limit`.
pub(crate) async fn until(limit: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// What a store answers, which may have lost its connections to a server that was killed.
pub(crate) async fn answered<T>(mut call: impl AsyncFnMut() -> iobox::Result<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if error.kind() == ErrorKind::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            Err(error) => panic!("no answer: {error:?}"),
        }
    }
}

/// A number from the environment, to make a test longer.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number")),
    )
}
