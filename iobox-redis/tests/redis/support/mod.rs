//! What the tests share: reading streams back.

mod reader;

use std::net::SocketAddr;

pub(crate) use reader::Reader;

/// The address in a URL of testkit.
pub(crate) fn address(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("redis://");
    address.parse().expect("an address without credentials")
}
