//! Free TCP ports of 127.0.0.1.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};

/// How many random ports are tried before the machine counts as full.
const TRIES: usize = 200;

/// Returns a port that nobody else listens on right now; the caller may still find it taken.
///
/// The port lies outside the range from which the kernel picks ports of outgoing connections.
/// Inside it, a client that keeps connecting to a server which is down can be given that very
/// port, connect to itself, and so keep the server from coming back.
pub(super) fn free_port() -> Result<u16> {
    let range = listening_range();
    for _ in 0..TRIES {
        let port = fastrand::u16(range.clone());
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    let port = listener
        .local_addr()
        .context("the address of a listener")?
        .port();
    ensure!(port != 0, "the system gave port 0");
    Ok(port)
}

fn listening_range() -> RangeInclusive<u16> {
    let outgoing = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = outgoing
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<u16>().ok());
    match first {
        Some(first) if first > 12_000 => 10_240..=first - 1,
        _ => 10_240..=32_767,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::servers::process::poll_until;

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free_port().expect("a port");
        // A process that another thread starts just now holds a copy of the listener that found
        // the port, until it runs its program.
        let bound = poll_until(Duration::from_secs(10), || {
            Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        });
        assert!(bound.expect("no error"));
    }
}
