//! Redis or Valkey for tests: found, borrowed or private.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

#[cfg(feature = "containers")]
use super::container::Recipe;
use super::daemon::{Daemon, Spec};
use super::kind::Kind;
use super::programs::Programs;
use super::server::{Server, UNKNOWN, share};

/// The environment variable with the URL of a Redis or Valkey that tests may use.
///
/// It must keep an append-only file, and tests write keys under prefixes of their own on it.
pub const REDIS_URL: &str = "IOBOX_TEST_REDIS_URL";

/// Set beside [`REDIS_URL`] by a test runner that started the server for this run alone.
pub const REDIS_PRIVATE: &str = "IOBOX_TEST_REDIS_PRIVATE";

/// The environment variable with the image, `name:tag`, for feature `containers`.
pub const REDIS_IMAGE: &str = "IOBOX_TEST_REDIS_IMAGE";

static KIND: Kind = Kind {
    name: "Redis",
    url: REDIS_URL,
    private: REDIS_PRIVATE,
    programs: Programs::redis,
    advice: "put `redis-server` or `valkey-server` into PATH or /usr/bin",
    package: "redis-server",
    prepare: || Ok(()),
    ask_version,
    #[cfg(feature = "containers")]
    recipe: Recipe {
        image: "redis:8.2",
        variable: REDIS_IMAGE,
        port: 6379,
        environment: &[],
        command: &["redis-server", "--save", "", "--appendonly", "yes"],
        ready_on_stdout: Some("Ready to accept connections"),
        ready_on_stderr: None,
        url: |port| format!("redis://127.0.0.1:{port}"),
    },
};

static SHARED: Mutex<Weak<Redis>> = Mutex::new(Weak::new());

/// A Redis server that answers; a private one is stopped and removed on drop.
///
/// A private one keeps an append-only file, synced every second, and no snapshots. What every server
/// can do, [`Server`] lists.
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// Finds a server by the ways that the [module](super) names, or starts one.
    ///
    /// If a way is open but fails, that is the error; a server that somebody asked for is not
    /// replaced by another one.
    pub fn find() -> Result<Self> {
        RedisBuilder::default().find()
    }

    /// Returns the server that the tests of this process share, as [`Redis::find`] finds it.
    ///
    /// It is stopped when the last of its users drops it. Isolate tests by key prefixes, such as
    /// [`unique_schema`](super::unique_schema) gives.
    pub fn shared() -> Result<Arc<Self>> {
        share(&SHARED, Self::find)
    }

    /// Starts a server of its own for the caller, who may stop, kill and start it.
    pub fn private() -> Result<Self> {
        RedisBuilder::default().private()
    }

    /// Starts a server in a container of the image that [`REDIS_IMAGE`] names, whatever else the machine
    /// has; [`Server`] removes it on drop. Of an image named `localhost/…`, nothing is ever fetched.
    ///
    /// # Errors
    /// When no Docker engine answers, the image cannot be had, or the server does not get ready.
    #[cfg(feature = "containers")]
    pub fn contained() -> Result<Self> {
        KIND.contained().map(Self)
    }

    /// Returns a builder for a private server with other settings.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

/// Says how a private server is to run.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RedisBuilder {
    settings: Vec<String>,
}

impl RedisBuilder {
    /// Adds a line of the server's configuration file, such as `maxmemory 8mb`; the last line of a
    /// name holds.
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Demands a password, which the URL of the server does not hold.
    pub fn password(self, password: &str) -> Self {
        self.setting(format!("requirepass \"{password}\""))
    }

    /// Finds a server like [`Redis::find`]; the settings hold only for one that is started.
    pub fn find(self) -> Result<Redis> {
        KIND.find(|programs| self.start(&programs)).map(Redis)
    }

    /// Starts a private server, from programs that are there or are installed now.
    pub fn private(self) -> Result<Redis> {
        KIND.private(|programs| self.start(&programs)).map(Redis)
    }

    fn start(self, programs: &Programs) -> Result<(Daemon, String)> {
        let daemon = Daemon::create(Spec {
            name: "redis",
            users: &["redis", "valkey", "nobody"],
            program: programs.server.clone(),
            ready: "Ready to accept connections",
            configure: Box::new(move |folder, port| self.configure(folder, port)),
        })?;
        let url = format!("redis://127.0.0.1:{}", daemon.port());
        Ok((daemon, url))
    }

    /// Writes the configuration and returns the argument that names it.
    fn configure(&self, folder: &Path, port: u16) -> Result<Vec<OsString>> {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {port}"),
            format!("dir \"{}\"", folder.display()),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            "appendonly yes".to_owned(),
            "appendfsync everysec".to_owned(),
        ];
        lines.extend(self.settings.iter().cloned());
        let file = folder.join("redis.conf");
        fs::write(&file, lines.join("\n") + "\n").context("cannot write a configuration")?;
        Ok(vec![file.into()])
    }
}

/// Asks a server for its version, as its administrator would.
fn ask_version(url: &str) -> Result<String> {
    let address = url.rsplit_once("://").map_or(url, |(_, rest)| rest);
    let (login, address) = address.rsplit_once('@').unwrap_or(("", address));
    let address = address.split(['/', '?', '#']).next().unwrap_or(address);
    let stream = match address.rsplit_once(':') {
        Some(_) => TcpStream::connect(address),
        None => TcpStream::connect((address, 6379)),
    };
    let mut stream = stream.context("cannot connect")?;
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .context("cannot set a timeout")?;
    if let Some((user, password)) = login.split_once(':') {
        let user = if user.is_empty() { "default" } else { user };
        let (first, second) = (user.len(), password.len());
        write!(
            stream,
            "*3\r\n$4\r\nAUTH\r\n${first}\r\n{user}\r\n${second}\r\n{password}\r\n"
        )
        .context("cannot log in")?;
    }
    stream
        .write_all(b"INFO server\r\n")
        .context("cannot ask for the version")?;
    let mut replies = BufReader::new(stream);
    loop {
        let mut line = String::new();
        replies
            .read_line(&mut line)
            .context("cannot read a reply")?;
        let line = line.trim_end();
        if line == "+OK" {
            continue;
        }
        let Some(length) = line.strip_prefix('$').and_then(|text| text.parse().ok()) else {
            bail!("the server does not tell its version: {line}");
        };
        let mut text = vec![0; length];
        replies
            .read_exact(&mut text)
            .context("cannot read what the server tells of itself")?;
        return Ok(version_of(&String::from_utf8_lossy(&text)));
    }
}

/// Valkey tells the version of Redis that it is compatible with before its own.
fn version_of(info: &str) -> String {
    let field = |name: &str| {
        let mut values = info.lines().filter_map(|line| line.strip_prefix(name));
        values.next().map(|version| version.trim().to_owned())
    };
    field("valkey_version:")
        .or_else(|| field("redis_version:"))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valkey_tells_its_own_version() {
        let valkey = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(version_of(valkey), "9.1.2");
        assert_eq!(version_of("redis_version:7.0.15\r\n"), "7.0.15");
        assert_eq!(version_of(""), UNKNOWN);
    }
}
