//! What the tests share: servers, streams, and a reader that is not the publisher.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod place;
pub(crate) mod rig;
pub(crate) mod server;

use std::time::Duration;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Looks until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let looked = tokio::time::timeout(PATIENCE, async {
        while !done().await {
            tokio::time::sleep(LOOK).await;
        }
    });
    assert!(looked.await.is_ok(), "not within {PATIENCE:?}: {what}");
}
