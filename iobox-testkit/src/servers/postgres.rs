//! Postgres for tests: found, borrowed or private.

use std::ops::{Deref, DerefMut};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context as _, Result, bail};

use super::cluster::{Cluster, Options};
#[cfg(feature = "containers")]
use super::container::Recipe;
use super::install;
use super::kind::Kind;
use super::programs::{Programs, tool};
use super::server::{Server, UNKNOWN, share};

/// The environment variable with the URL of a Postgres that tests may use.
///
/// They make schemas of their own in its database, and its user must be allowed to do so.
pub const POSTGRES_URL: &str = "IOBOX_TEST_POSTGRES_URL";

/// Set beside [`POSTGRES_URL`] by a test runner that started the server for this run alone.
pub const POSTGRES_PRIVATE: &str = "IOBOX_TEST_POSTGRES_PRIVATE";

/// The environment variable with the image, `name:tag`, for feature `containers`.
pub const POSTGRES_IMAGE: &str = "IOBOX_TEST_POSTGRES_IMAGE";

static KIND: Kind = Kind {
    name: "PostgreSQL",
    url: POSTGRES_URL,
    private: POSTGRES_PRIVATE,
    programs: Programs::postgres,
    advice: "put `postgres` and `initdb` into PATH or /usr/lib/postgresql/*/bin",
    package: "postgresql",
    prepare: install::no_main_cluster,
    ask_version,
    #[cfg(feature = "containers")]
    recipe: Recipe {
        image: "postgres:18",
        variable: POSTGRES_IMAGE,
        port: 5432,
        environment: &[
            ("POSTGRES_HOST_AUTH_METHOD", "trust"),
            ("POSTGRES_USER", "postgres"),
        ],
        command: &[
            "postgres",
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "jit=off",
            "-c",
            "max_connections=300",
            "-c",
            "max_prepared_transactions=16",
        ],
        // The first server, which sets the database up, says so on stdout; the one that stays
        // says so on stderr.
        ready_on_stdout: Some(READY),
        ready_on_stderr: Some(READY),
        url: |port| format!("postgres://postgres@127.0.0.1:{port}/postgres"),
    },
};

#[cfg(feature = "containers")]
const READY: &str = "database system is ready to accept connections";

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// A Postgres that answers; a private one is stopped and removed on drop.
///
/// What every server can do, [`Server`] lists.
#[derive(Debug)]
pub struct Postgres(Server);

impl Postgres {
    /// Finds a server by the ways that the [module](super) names, or starts one.
    ///
    /// Starting takes a second or two. If a way is open but fails, that is the error; a server
    /// that somebody asked for is not replaced by another one.
    pub fn find() -> Result<Self> {
        PostgresBuilder::default().find()
    }

    /// Returns the server that the tests of this process share, as [`Postgres::find`] finds it.
    ///
    /// It is stopped when the last of its users drops it, and so cannot be leaked as one in a
    /// `static` would be. Isolate tests by [`unique_schema`](super::unique_schema).
    pub fn shared() -> Result<Arc<Self>> {
        share(&SHARED, Self::find)
    }

    /// Starts a server of its own for the caller, who may stop, kill and start it.
    pub fn private() -> Result<Self> {
        PostgresBuilder::default().private()
    }

    /// Starts a server in a container of the image that [`POSTGRES_IMAGE`] names, whatever else the machine
    /// has; [`Server`] removes it on drop. Of an image named `localhost/…`, nothing is ever fetched.
    ///
    /// # Errors
    /// When no Docker engine answers, the image cannot be had, or the server does not get ready.
    #[cfg(feature = "containers")]
    pub fn contained() -> Result<Self> {
        KIND.contained().map(Self)
    }

    /// Returns a builder for a private server with other settings.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

/// Says how a private server is to run.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PostgresBuilder {
    options: Options,
}

impl PostgresBuilder {
    /// Switches fsync and full page writes on, as in production; off by default, for speed.
    ///
    /// A killed server loses no commit either way; it takes a dead machine to tell.
    pub fn durable(mut self, durable: bool) -> Self {
        self.options.durable = durable;
        self
    }

    /// Sets a setting of the server, such as `wal_level`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.settings.push((name.into(), value.into()));
        self
    }

    /// Finds a server like [`Postgres::find`]; the settings hold only for one that is started.
    pub fn find(self) -> Result<Postgres> {
        KIND.find(|programs| self.start(programs)).map(Postgres)
    }

    /// Starts a private server, from programs that are there or are installed now.
    pub fn private(self) -> Result<Postgres> {
        KIND.private(|programs| self.start(programs)).map(Postgres)
    }

    fn start(self, programs: Programs) -> Result<(Cluster, String)> {
        let cluster = Cluster::create(programs, self.options)?;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
        Ok((cluster, url))
    }
}

/// Asks a server for its version, by `psql`; without that program, believes the URL.
fn ask_version(url: &str) -> Result<String> {
    let folder = Programs::postgres().map(|programs| programs.folder);
    let Some(psql) = tool("psql", folder.as_deref()) else {
        return Ok(UNKNOWN.to_owned());
    };
    let output = Command::new(psql)
        .args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-w",
            "-c",
            "show server_version",
            "-d",
            url,
        ])
        .env("PGCONNECT_TIMEOUT", "15")
        .stdin(Stdio::null())
        .output()
        .context("cannot run psql")?;
    if !output.status.success() {
        bail!(
            "psql says: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().unwrap_or(UNKNOWN).to_owned())
}
