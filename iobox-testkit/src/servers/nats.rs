//! NATS with JetStream for tests: found, borrowed or private.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result};

#[cfg(feature = "containers")]
use super::container::Recipe;
use super::daemon::{Daemon, Spec};
use super::kind::Kind;
use super::programs::Programs;
use super::server::{Server, UNKNOWN, share};

/// The environment variable with the URL of a NATS with JetStream that tests may use.
///
/// They make streams of their own on it, and its user must be allowed to do so.
pub const NATS_URL: &str = "IOBOX_TEST_NATS_URL";

/// Set beside [`NATS_URL`] by a test runner that started the server for this run alone.
pub const NATS_PRIVATE: &str = "IOBOX_TEST_NATS_PRIVATE";

/// The environment variable with the image, `name:tag`, for feature `containers`.
pub const NATS_IMAGE: &str = "IOBOX_TEST_NATS_IMAGE";

static KIND: Kind = Kind {
    name: "NATS",
    url: NATS_URL,
    private: NATS_PRIVATE,
    programs: Programs::nats,
    advice: "put `nats-server` into PATH or /usr/sbin",
    package: "nats-server",
    prepare: || Ok(()),
    ask_version,
    #[cfg(feature = "containers")]
    recipe: Recipe {
        image: "nats:2.14",
        variable: NATS_IMAGE,
        port: 4222,
        environment: &[],
        command: &["-js"],
        ready_on_stdout: None,
        ready_on_stderr: Some("Server is ready"),
        url: |port| format!("nats://127.0.0.1:{port}"),
    },
};

static SHARED: Mutex<Weak<Nats>> = Mutex::new(Weak::new());

/// A NATS server with JetStream that answers; a private one is stopped and removed on drop.
///
/// What every server can do, [`Server`] lists.
#[derive(Debug)]
pub struct Nats(Server);

impl Nats {
    /// Finds a server by the ways that the [module](super) names, or starts one.
    ///
    /// If a way is open but fails, that is the error; a server that somebody asked for is not
    /// replaced by another one.
    pub fn find() -> Result<Self> {
        NatsBuilder::default().find()
    }

    /// Returns the server that the tests of this process share, as [`Nats::find`] finds it.
    ///
    /// It is stopped when the last of its users drops it. Isolate tests by names of streams and
    /// subjects, such as [`unique_schema`](super::unique_schema) gives.
    pub fn shared() -> Result<Arc<Self>> {
        share(&SHARED, Self::find)
    }

    /// Starts a server of its own for the caller, who may stop, kill and start it.
    pub fn private() -> Result<Self> {
        NatsBuilder::default().private()
    }

    /// Starts a server in a container of the image that [`NATS_IMAGE`] names, whatever else the machine
    /// has; [`Server`] removes it on drop. Of an image named `localhost/…`, nothing is ever fetched.
    ///
    /// # Errors
    /// When no Docker engine answers, the image cannot be had, or the server does not get ready.
    #[cfg(feature = "containers")]
    pub fn contained() -> Result<Self> {
        KIND.contained().map(Self)
    }

    /// Returns a builder for a private server with other settings.
    pub fn builder() -> NatsBuilder {
        NatsBuilder::default()
    }
}

impl Deref for Nats {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Nats {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

/// Says how a private server is to run.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct NatsBuilder {
    settings: Vec<String>,
    no_jetstream: bool,
}

impl NatsBuilder {
    /// Adds a line of the server's configuration file, such as `max_payload: 4KB`.
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Demands a user and a password, which the URL of the server does not hold.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.setting(format!(
            "authorization: {{ user: \"{name}\", password: \"{password}\" }}"
        ))
    }

    /// Leaves JetStream switched off.
    pub fn without_jetstream(mut self) -> Self {
        self.no_jetstream = true;
        self
    }

    /// Finds a server like [`Nats::find`]; the settings hold only for one that is started.
    pub fn find(self) -> Result<Nats> {
        KIND.find(|programs| self.start(&programs)).map(Nats)
    }

    /// Starts a private server, from programs that are there or are installed now.
    pub fn private(self) -> Result<Nats> {
        KIND.private(|programs| self.start(&programs)).map(Nats)
    }

    fn start(self, programs: &Programs) -> Result<(Daemon, String)> {
        let daemon = Daemon::create(Spec {
            name: "nats",
            users: &["nats", "nobody"],
            program: programs.path("nats-server"),
            ready: "Server is ready",
            configure: Box::new(move |folder, port| self.configure(folder, port)),
        })?;
        let url = format!("nats://127.0.0.1:{}", daemon.port());
        Ok((daemon, url))
    }

    /// Writes the configuration and returns the arguments that name it.
    fn configure(&self, folder: &Path, port: u16) -> Result<Vec<OsString>> {
        let mut lines = vec![format!("listen: \"127.0.0.1:{port}\"")];
        if !self.no_jetstream {
            let store = folder.join("store");
            lines.push(format!(
                "jetstream: {{ store_dir: \"{}\" }}",
                store.display()
            ));
        }
        lines.extend(self.settings.iter().cloned());
        let file = folder.join("nats.conf");
        fs::write(&file, lines.join("\n") + "\n").context("cannot write a configuration")?;
        Ok(vec!["-c".into(), file.into()])
    }
}

/// Reads the version that a server tells everybody who connects.
fn ask_version(url: &str) -> Result<String> {
    let address = url.rsplit_once("://").map_or(url, |(_, rest)| rest);
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    let address = address.split(['/', ',']).next().unwrap_or(address);
    let stream = match address.rsplit_once(':') {
        Some(_) => TcpStream::connect(address),
        None => TcpStream::connect((address, 4222)),
    };
    let stream = stream.context("cannot connect")?;
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .context("cannot set a timeout")?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("cannot read what the server says first")?;
    let version = line
        .split_once("\"version\":\"")
        .and_then(|(_, rest)| rest.split('"').next());
    Ok(version.unwrap_or(UNKNOWN).to_owned())
}
