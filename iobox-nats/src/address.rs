//! The addresses of servers: checked, and parted from the secrets that they may hold.

use std::fmt;

use async_nats::ServerAddr;
use iobox_core::{Error, Result};
use percent_encoding::percent_decode_str;

/// The most servers of a list.
const SERVERS_MAX: usize = 32;

/// The servers of a cluster and how to sign in. `Debug` shows hosts alone.
#[derive(Clone)]
pub(crate) struct Servers {
    /// Without credentials, which async-nats ignores there and writes into its log.
    addresses: Vec<ServerAddr>,
    pub(crate) credentials: Credentials,
}

/// How to sign in.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) enum Credentials {
    #[default]
    None,
    Token(String),
    User(String, String),
}

impl Servers {
    /// Reads `nats://host:port` and `tls://host:port`, separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.len() > SERVERS_MAX {
            return Err(Error::invalid(format!(
                "servers has {} entries; at most {SERVERS_MAX} are allowed",
                parts.len()
            )));
        }
        let mut servers = Self {
            addresses: Vec::with_capacity(parts.len()),
            credentials: Credentials::None,
        };
        for (index, part) in parts.into_iter().enumerate() {
            let (address, credentials) = parse_one(part)
                .map_err(|what| Error::invalid(format!("servers: entry {index} {what}")))?;
            servers.addresses.push(address);
            if credentials != Credentials::None {
                let first = std::mem::replace(&mut servers.credentials, credentials.clone());
                if first != Credentials::None && first != credentials {
                    return Err(Error::invalid(format!(
                        "servers: entry {index} has other credentials than those before it; one \
                         publisher signs in everywhere with the same"
                    )));
                }
            }
        }
        Ok(servers)
    }

    pub(crate) fn addresses(&self) -> &[ServerAddr] {
        &self.addresses
    }

    /// Whether one of them asks for TLS by its scheme.
    pub(crate) fn want_tls(&self) -> bool {
        self.addresses.iter().any(ServerAddr::tls_required)
    }

    /// Whether all of them are on this machine.
    pub(crate) fn are_local(&self) -> bool {
        self.addresses.iter().all(|address| {
            let host = address.host();
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        })
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.addresses.iter().map(ServerAddr::as_url_str);
        f.debug_list().entries(hosts).finish()
    }
}

/// Parts an address from its credentials; the error completes a sentence and shows no secret.
fn parse_one(text: &str) -> Result<(ServerAddr, Credentials), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(String::from(
            "is no URL; write it like nats://host:4222 or tls://host:4222",
        ));
    };
    if !matches!(scheme, "nats" | "tls") {
        // A scheme is no secret, but what stands there may be something else by mistake.
        return Err(String::from(
            "has an unknown scheme; use nats:// or tls://, and no websockets",
        ));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let no_host = || String::from("has no host; write it like nats://host:4222");
    if authority.is_empty() {
        return Err(no_host());
    }
    if !matches!(behind, "" | "/") {
        return Err(String::from(
            "has something behind the host, where nothing may stand; percent-encode what is special \
             in user and password",
        ));
    }
    let whole: ServerAddr = text
        .parse()
        .map_err(|error| format!("cannot be read as a URL: {error}"))?;
    if whole.host().is_empty() {
        return Err(no_host());
    }
    // One with a colon is an address in brackets, which the parser has checked.
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !whole.host().chars().all(legal) {
        return Err(String::from(
            "has a host with a character outside of A-Z a-z 0-9 . - _; separate servers by commas",
        ));
    }
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(String::from)
            .map_err(|_| String::from("has credentials that are not UTF-8 when decoded"))
    };
    let credentials = match (whole.username(), whole.password()) {
        (None, None) => Credentials::None,
        (Some(token), None) => Credentials::Token(decoded(token)?),
        (user, Some(password)) => {
            Credentials::User(decoded(user.unwrap_or_default())?, decoded(password)?)
        }
    };
    let host = whole.host();
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let bare = format!("{scheme}://{host}:{}", whole.port());
    let address = bare
        .parse()
        .map_err(|error| format!("cannot be read as a URL: {error}"))?;
    Ok((address, credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        let servers = Servers::parse(text).expect("servers");
        let urls = servers.addresses.iter().map(ServerAddr::as_url_str);
        urls.map(str::to_owned).collect()
    }

    #[test]
    fn servers_are_read_with_their_defaults() {
        assert_eq!(hosts("nats://localhost"), ["nats://localhost:4222"]);
        assert_eq!(hosts("nats://my_host-1.x/"), ["nats://my_host-1.x:4222"]);
        assert_eq!(
            hosts("nats://a:1, tls://b:2,nats://[::1]:3"),
            ["nats://a:1", "tls://b:2", "nats://[::1]:3"]
        );
    }

    #[test]
    fn what_is_no_server_is_told_without_its_text() {
        for (text, expected) in [
            ("", "entry 0 is no URL"),
            ("localhost:4222", "entry 0 is no URL"),
            ("nats://a,canary", "entry 1 is no URL"),
            ("http://canary:1", "unknown scheme"),
            ("ws://canary:1", "unknown scheme"),
            ("nats://", "entry 0"),
            ("nats:///canary", "no host"),
            ("nats://u:canary@", "entry 0"),
            ("nats://a:canary", "cannot be read"),
            ("nats://a;canary", "a host with"),
            ("nats://canary%20@b%20c", "a host with"),
            // What was to be a password would be taken for a port, and be in every error.
            ("nats://me:1234/canary@a", "something behind the host"),
            ("nats://me:1234?canary@a", "something behind the host"),
            ("nats://me:1234#canary@a", "something behind the host"),
            ("nats://a?token=canary", "something behind the host"),
            (
                "nats://u:canary@a,nats://u:other@b",
                "entry 1 has other credentials",
            ),
        ] {
            let error = Servers::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("canary"), "{text}: {error}");
        }
        let many = vec!["nats://a"; SERVERS_MAX + 1].join(",");
        assert!(Servers::parse(&many).is_err());
    }

    #[test]
    fn credentials_leave_the_address_and_stay_secret() {
        let servers = Servers::parse("nats://me:c%40nary@a,nats://b").expect("servers");
        let expected = Credentials::User(String::from("me"), String::from("c@nary"));
        assert!(servers.credentials == expected);
        assert_eq!(
            format!("{servers:?}"),
            "[\"nats://a:4222\", \"nats://b:4222\"]"
        );
        let token = Servers::parse("nats://canary@a").expect("servers");
        assert!(token.credentials == Credentials::Token(String::from("canary")));
    }

    #[test]
    fn loopback_is_local() {
        for (text, local) in [
            ("nats://localhost", true),
            ("nats://127.9.9.9", true),
            ("nats://[::1]", true),
            ("nats://localhost,nats://broker", false),
            ("nats://10.0.0.1", false),
            ("nats://localhost.example", false),
        ] {
            let servers = Servers::parse(text).expect("servers");
            assert_eq!(servers.are_local(), local, "{text}");
        }
    }
}
