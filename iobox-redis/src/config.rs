//! The configuration: what a publisher is set to, checked once.

use std::{fmt, net::IpAddr, time::Duration};

use iobox_core::{Error, Result};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    io::tcp::socket2::TcpKeepalive,
};

/// The schemes of URLs; those behind the first four are Redis in TCP, in TLS and on a socket.
const SCHEMES: [&str; 7] = [
    "redis",
    "valkey",
    "rediss",
    "valkeys",
    "unix",
    "redis+unix",
    "valkey+unix",
];

/// The longest prefix, in bytes.
const PREFIX_MAX: usize = 64;
/// How long a connection is idle before the system asks whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The bounds of every timeout.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest timeout.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What a [`RedisPublisher`](crate::RedisPublisher) is set to. Made by [`Config::builder`].
///
/// `Debug` shows the address and never the credentials.
#[derive(Clone)]
pub struct Config {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) reconnect_pause: Duration,
    pub(crate) trim_to: Option<u64>,
    pub(crate) allow_volatile: bool,
}

impl Config {
    /// The default of [`prefix`](ConfigBuilder::prefix).
    pub const PREFIX: &'static str = "iobox:";
    /// The default of [`connect_timeout`](ConfigBuilder::connect_timeout).
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The default of [`response_timeout`](ConfigBuilder::response_timeout).
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
    /// The pause behind a try to connect that failed, and behind the start of one that did not.
    pub const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
    /// The smallest [`trim_to`](ConfigBuilder::trim_to), in entries.
    pub const TRIM_MIN: u64 = 1_000;

    /// Starts from the defaults, with the server at `url`.
    ///
    /// `redis://[user][:password@]host[:port][/database]`, `rediss://…` for TLS (with the feature
    /// `tls`), `unix:///path?db=0&user=…&pass=…` for a socket; `valkey` may stand for `redis`.
    pub fn builder(url: impl Into<String>) -> ConfigBuilder {
        ConfigBuilder {
            url: url.into(),
            prefix: Self::PREFIX.to_owned(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            response_timeout: Self::RESPONSE_TIMEOUT,
            trim_to: None,
            allow_volatile: false,
            allow_plaintext: false,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field(
                "server",
                &format_args!("{}", self.client.get_connection_info().addr()),
            )
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("trim_to", &self.trim_to)
            .field("allow_volatile", &self.allow_volatile)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Config`].
///
/// `Debug` hides the URL, which may hold a password.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConfigBuilder {
    url: String,
    prefix: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    trim_to: Option<u64>,
    allow_volatile: bool,
    allow_plaintext: bool,
}

impl ConfigBuilder {
    /// Sets what the name of every stream starts with; the topic follows. Default: `iobox:`.
    ///
    /// 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. Nothing else on the server may use keys that
    /// start with it.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long connecting may take, name resolution, TLS and login included. Default: 2 s;
    /// 10 ms to 60 s.
    ///
    /// It must be below the relay's `publish_timeout`: a publish that is dropped before its try has
    /// failed leaves messages unknown of which nothing was sent.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long the server may send nothing while messages are under way. Default: 3 s; 10 ms
    /// to 60 s.
    ///
    /// After that they are [unknown](iobox_core::publisher::PublishError::Unknown) and the connection
    /// is given up. The relay's `publish_timeout` holds besides, for a batch as a whole.
    pub const fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Cuts each stream to about `entries` entries whenever one is added. Default: never.
    ///
    /// **This deletes messages that nobody may have read**, also such as a consumer group has been
    /// given and not acknowledged. Without it a stream grows until somebody trims it, and a server
    /// with `maxmemory` then refuses messages, which wait in the outbox; with it a reader that is
    /// behind by more than `entries` loses some. At least 1,000.
    pub const fn trim_to(mut self, entries: u64) -> Self {
        self.trim_to = Some(entries);
        self
    }

    /// Accepts a server that may forget what it has confirmed, with a warning each time that it is
    /// asked. Default: refused.
    pub const fn allow_volatile(mut self, allow: bool) -> Self {
        self.allow_volatile = allow;
        self
    }

    /// Accepts a connection without TLS to another machine, whose network must be trusted then.
    /// Default: refused.
    pub const fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), naming the setting and its bound, never the URL.
    pub fn build(self) -> Result<Config> {
        check_prefix(&self.prefix)?;
        check_timeout("connect_timeout", self.connect_timeout)?;
        check_timeout("response_timeout", self.response_timeout)?;
        if let Some(entries) = self.trim_to.filter(|entries| *entries < Config::TRIM_MIN) {
            let min = Config::TRIM_MIN;
            return Err(Error::invalid(format!(
                "trim_to is {entries} entries; it needs {min} or more"
            )));
        }
        let info = connection_info(&self.url)?;
        check_transport(info.addr(), self.allow_plaintext)?;
        // Where several kinds of cryptography are compiled in, rustls wants to be told which; what
        // the program has chosen stays.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Opens nothing yet.
        let client = Client::open(info)
            .map_err(|_| Error::invalid("the driver cannot work with the Redis URL"))?;
        Ok(Config {
            client,
            prefix: self.prefix,
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            reconnect_pause: Config::RECONNECT_PAUSE,
            trim_to: self.trim_to,
            allow_volatile: self.allow_volatile,
        })
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() || prefix.len() > PREFIX_MAX {
        return Err(Error::invalid(format!(
            "prefix has {} bytes; it needs 1 to {PREFIX_MAX}",
            prefix.len()
        )));
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    match prefix.find(|c| !is_legal(c)) {
        Some(at) => Err(Error::invalid(format!(
            "prefix has a character outside of A-Z a-z 0-9 . _ : - at byte {at}"
        ))),
        None => Ok(()),
    }
}

fn check_timeout(name: &str, timeout: Duration) -> Result<()> {
    if timeout < TIMEOUT_MIN || timeout > TIMEOUT_MAX {
        return Err(Error::invalid(format!(
            "{name} is {timeout:?}; it needs {TIMEOUT_MIN:?} to {TIMEOUT_MAX:?}"
        )));
    }
    Ok(())
}

/// Reads the URL. What it holds is never shown, since it may be a password in the wrong place.
fn connection_info(url: &str) -> Result<ConnectionInfo> {
    let form = "redis://[user][:password@]host[:port][/database]";
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(Error::invalid(format!(
            "the Redis URL has no scheme; write {form}"
        )));
    };
    if !SCHEMES.contains(&scheme) {
        let known = SCHEMES.join(", ");
        return Err(Error::invalid(format!(
            "the scheme of the Redis URL is not known; use one of {known}"
        )));
    }
    if matches!(scheme, "rediss" | "valkeys") && !cfg!(feature = "tls") {
        return Err(Error::invalid(
            "the Redis URL asks for TLS; switch on the feature tls of iobox",
        ));
    }
    // What is special and not encoded would make a host and a port of user and password.
    let encode = "percent-encode what is special in user and password";
    if rest.contains('#') && !rest.ends_with("#insecure") {
        return Err(Error::invalid(format!("the Redis URL has a #; {encode}")));
    }
    let behind = rest.find(['/', '?']).and_then(|at| rest.get(at..));
    if !scheme.ends_with("unix") && behind.is_some_and(|behind| behind.contains('@')) {
        return Err(Error::invalid(format!(
            "the Redis URL has an @ behind its host; {encode}"
        )));
    }
    // The source is left out: it may quote the URL.
    let info = url.into_connection_info().map_err(|_| {
        Error::invalid(format!(
            "the Redis URL cannot be read: check host, port and database; write {form}, and {encode}"
        ))
    })?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(Error::invalid(
            "the Redis URL ends in #insecure, which would take any certificate; remove it",
        ));
    }
    if let ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } = info.addr() {
        if host.is_empty() {
            return Err(Error::invalid(format!(
                "the Redis URL has no host; write {form}"
            )));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let name = host.trim_start_matches('[').trim_end_matches(']');
        if !name.chars().all(legal) {
            return Err(Error::invalid(
                "the Redis URL has a host with a character outside of A-Z a-z 0-9 . - _",
            ));
        }
    }
    // RESP3, since only it tells when a connection has ended; nodelay, since batches end in part
    // of a packet; keepalive, since an idle connection that a firewall forgot would make the next
    // messages unknown.
    let settings = info.redis_settings().clone();
    let settings = settings
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("iobox", env!("CARGO_PKG_VERSION"));
    let tcp = info
        .tcp_settings()
        .clone()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

fn check_transport(address: &ConnectionAddr, allow_plaintext: bool) -> Result<()> {
    let local = match address {
        ConnectionAddr::Tcp(host, _) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        _ => true,
    };
    if local || allow_plaintext {
        return Ok(());
    }
    Err(Error::invalid(
        "the connection to Redis would be plaintext to another machine: use rediss:// (with the \
         feature tls), or allow_plaintext in the configuration",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "s3cr3t-CANARY";

    fn refused(builder: ConfigBuilder) -> String {
        let shown = format!("{builder:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        let error = builder.build().expect_err("a bad setting");
        assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
        let text = format!("{error} {error:?}");
        assert!(!text.contains(CANARY), "{text}");
        text
    }

    #[test]
    fn urls_that_cannot_work_are_refused_without_being_shown() {
        for (url, says) in [
            (format!("{CANARY}@localhost:6379"), "has no scheme"),
            (
                format!("http://:{CANARY}@localhost"),
                "scheme of the Redis URL is not known",
            ),
            (format!("redis://:{CANARY}@"), "cannot be read"),
            (format!("redis://:{CANARY}@:6379"), "cannot be read"),
            (format!("redis:///{CANARY}"), "cannot be read"),
            (
                format!("redis://:{CANARY}@localhost:port"),
                "cannot be read",
            ),
            (format!("redis://:{CANARY}@localhost/db"), "cannot be read"),
            (format!("redis://:{CANARY}@0.0.0.0"), "cannot be read"),
            // What was to be a password would be taken for a port, and be in every error.
            (format!("redis://me:1234#{CANARY}@localhost"), "has a #"),
            (
                format!("redis://me:1234?{CANARY}@localhost"),
                "behind its host",
            ),
            (format!("redis://{CANARY}%c#x@localhost"), "has a #"),
            (format!("redis://a;{CANARY}"), "a host with"),
            (
                format!("redis://:{CANARY}@example.com"),
                "plaintext to another machine",
            ),
            (
                format!("redis://:{CANARY}@10.0.0.1"),
                "plaintext to another machine",
            ),
        ] {
            let text = refused(Config::builder(&url));
            assert!(text.contains(says), "{url}: {text}");
        }
    }

    #[test]
    fn tls_needs_the_feature_and_is_always_verified() {
        let url = format!("rediss://:{CANARY}@example.com");
        if cfg!(feature = "tls") {
            Config::builder(&url).build().expect("TLS");
            let text = refused(Config::builder(format!("{url}/#insecure")));
            assert!(text.contains("#insecure"), "{text}");
        } else {
            let text = refused(Config::builder(url));
            assert!(text.contains("feature tls"), "{text}");
        }
    }

    #[test]
    fn local_and_allowed_servers_are_taken() {
        for url in [
            "redis://127.0.0.1",
            "valkey://localhost:7000/3",
            "redis://[::1]:6379",
            "unix:///run/redis.sock?db=1",
        ] {
            Config::builder(url).build().expect(url);
        }
        let far = Config::builder("redis://10.0.0.1").allow_plaintext(true);
        far.build().expect("a trusted network");
    }

    #[test]
    fn a_configuration_shows_no_credentials() {
        let url = format!("redis://{CANARY}:{CANARY}@localhost:6400");
        let config = Config::builder(url).build().expect("a configuration");
        let shown = format!("{config:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.contains("localhost:6400"), "{shown}");
    }

    #[test]
    fn each_bound_is_named() {
        let base = || Config::builder("redis://localhost");
        for (builder, says) in [
            (base().prefix(""), "prefix has 0 bytes; it needs 1 to 64"),
            (
                base().prefix("p".repeat(65)),
                "prefix has 65 bytes; it needs 1 to 64",
            ),
            (base().prefix("a{b}"), "at byte 1"),
            (base().prefix("ü"), "at byte 0"),
            (
                base().connect_timeout(Duration::ZERO),
                "connect_timeout is 0ns; it needs 10ms to 60s",
            ),
            (
                base().response_timeout(Duration::from_secs(61)),
                "response_timeout is 61s",
            ),
            (
                base().trim_to(999),
                "trim_to is 999 entries; it needs 1000 or more",
            ),
        ] {
            let text = refused(builder);
            assert!(text.contains(says), "{text}");
        }
    }
}
