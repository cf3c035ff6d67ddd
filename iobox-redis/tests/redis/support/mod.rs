//! What the tests share: servers, messages, reading streams back, a relay.

mod cli;
mod log;
mod place;
mod reader;
mod relayed;

use std::{net::SocketAddr, time::Duration};

pub(crate) use cli::{redis_cli, redis_cli_with};
pub(crate) use log::Log;
pub(crate) use place::{Place, made, message, publish, server};
pub(crate) use reader::Reader;
pub(crate) use relayed::{BATCH, IN_FLIGHT, Relayed, complete_in_order};

/// How long a test waits for something that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The address in a URL of testkit.
pub(crate) fn address(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("redis://");
    address.parse().expect("an address without credentials")
}

/// Looks until `done` says yes.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let looking = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    assert!(found.is_ok(), "it does not happen that {what}");
}
