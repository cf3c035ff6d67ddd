//! Servers: one that many tests share, and the addresses of servers.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use iobox_testkit::servers::{Nats, NatsBuilder};
use tokio::task::spawn_blocking;

static LARGE: Mutex<Weak<Nats>> = Mutex::new(Weak::new());

/// A server that takes payloads of up to 2 MiB, headers included; shared by the tests of a process.
pub(crate) async fn large() -> Arc<Nats> {
    let found = spawn_blocking(|| {
        let mut shared = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Nats::builder().setting("max_payload: 2MB").private();
        started.map(|server| {
            let server = Arc::new(server);
            *shared = Arc::downgrade(&server);
            server
        })
    });
    found.await.expect("no panic").expect("a server")
}

/// A server of one's own.
pub(crate) async fn private(builder: NatsBuilder) -> Nats {
    let started = spawn_blocking(move || builder.private());
    started.await.expect("no panic").expect("a server")
}

/// The server that the tests of this run share.
pub(crate) async fn shared() -> Arc<Nats> {
    let found = spawn_blocking(Nats::shared);
    found.await.expect("no panic").expect("a server")
}

/// The address of a server.
pub(crate) fn address(server: &Nats) -> SocketAddr {
    let (_, address) = server.url().rsplit_once("//").expect("a URL");
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    address.parse().expect("an address")
}
