//! Postgres for tests: found, borrowed or private.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, Result, bail};

use super::cluster::{Cluster, Options};
#[cfg(feature = "containers")]
use super::container::Container;
use super::install;
use super::programs::{Programs, tool};

/// The environment variable with the URL of a Postgres that tests may use.
///
/// They make schemas of their own in its database, and its user must be allowed to do so.
pub const POSTGRES_URL: &str = "IOBOX_TEST_POSTGRES_URL";

/// Set beside [`POSTGRES_URL`] by a test runner that started the server for this run alone.
pub const POSTGRES_PRIVATE: &str = "IOBOX_TEST_POSTGRES_PRIVATE";

/// The environment variable with the image, `name:tag`, for feature `containers`.
pub const POSTGRES_IMAGE: &str = "IOBOX_TEST_POSTGRES_IMAGE";

/// What is said of a version that cannot be read.
const UNKNOWN: &str = "(unknown version)";

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// A Postgres that answers; a private one is stopped and removed on drop.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    version: String,
    origin: Origin,
    server: Server,
}

/// Where a server came from. Displayed as the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// An environment variable names it.
    Given {
        /// The name of the variable.
        variable: &'static str,
    },
    /// Started from the programs in a folder.
    Started {
        /// That folder.
        programs: PathBuf,
    },
    /// Started in a container.
    Container {
        /// The image, as `name:tag`.
        image: String,
    },
}

#[derive(Debug)]
enum Server {
    Borrowed {
        private: bool,
    },
    Child(Box<Cluster>),
    #[cfg(feature = "containers")]
    Container {
        _running: Container,
    },
}

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
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let found = Arc::new(Self::find()?);
        *shared = Arc::downgrade(&found);
        Ok(found)
    }

    /// Starts a server of its own for the caller, who may stop, kill and start it.
    pub fn private() -> Result<Self> {
        PostgresBuilder::default().private()
    }

    /// Returns a builder for a private server with other settings.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The URL of a database on the server, for a user who may create schemas in it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The version, such as `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the server came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the server was started for these tests alone, by this process or by its runner.
    ///
    /// Only then may a test touch what belongs to the whole server: roles, settings, databases.
    #[must_use]
    pub fn is_private(&self) -> bool {
        !matches!(self.server, Server::Borrowed { private: false })
    }

    /// The process id of a server that this process started and that is running.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.server {
            Server::Child(cluster) => cluster.pid(),
            _ => None,
        }
    }

    /// The environment by which [`Postgres::find`] finds this server in a child process.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let private = if self.is_private() { "1" } else { "" };
        vec![
            (POSTGRES_URL, self.url.clone()),
            (POSTGRES_PRIVATE, private.to_owned()),
        ]
    }

    /// Stops the server as its administrator would: sessions end, the data is flushed.
    ///
    /// Fails for a server that this process did not start; does nothing if it is down already.
    pub fn stop(&mut self) -> Result<()> {
        self.child("stop")?.stop()
    }

    /// Kills the server and all its sessions with SIGKILL, as a crash would.
    ///
    /// Returns when the last of its processes is gone. To wait for those, this process adopts
    /// its orphans from then on ([`adopt_orphans`](super::adopt_orphans)).
    /// Fails for a server that this process did not start; does nothing if it is down already.
    pub fn kill(&mut self) -> Result<()> {
        self.child("kill")?.kill()
    }

    /// Starts the server again, on the same data and at the same URL, and waits until it answers.
    ///
    /// Fails for a server that this process did not start, and for one that is running.
    pub fn start(&mut self) -> Result<()> {
        self.child("start")?.start()
    }

    fn child(&mut self, verb: &str) -> Result<&mut Cluster> {
        match &mut self.server {
            Server::Child(cluster) => Ok(cluster),
            _ => bail!(
                "cannot {verb} a server that this process did not start ({})",
                self.origin
            ),
        }
    }

    fn borrowed(url: String) -> Result<Self> {
        let version = ask_version(&url)
            .with_context(|| format!("the server that {POSTGRES_URL} names does not answer"))?;
        let private = env::var_os(POSTGRES_PRIVATE).is_some_and(|value| !value.is_empty());
        let origin = Origin::Given {
            variable: POSTGRES_URL,
        };
        Ok(Self {
            url,
            version,
            origin,
            server: Server::Borrowed { private },
        })
    }

    fn started(programs: Programs, options: Options) -> Result<Self> {
        let version = programs.version.clone();
        let origin = Origin::Started {
            programs: programs.folder.clone(),
        };
        let cluster = Cluster::create(programs, options)
            .with_context(|| format!("cannot start PostgreSQL {version} ({origin})"))?;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
        Ok(Self {
            url,
            version,
            origin,
            server: Server::Child(Box::new(cluster)),
        })
    }

    #[cfg(feature = "containers")]
    fn contained(running: Container) -> Self {
        let url = running.url().to_owned();
        let version = ask_version(&url).unwrap_or_else(|_| UNKNOWN.to_owned());
        let origin = Origin::Container {
            image: running.image().to_owned(),
        };
        Self {
            url,
            version,
            origin,
            server: Server::Container { _running: running },
        }
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
        if let Some(url) = env::var(POSTGRES_URL).ok().filter(|url| !url.is_empty()) {
            return Postgres::borrowed(url);
        }
        if let Some(programs) = Programs::postgres() {
            return Postgres::started(programs, self.options);
        }
        #[cfg(feature = "containers")]
        let no_container = match Container::start() {
            Ok(Some(running)) => return Ok(Postgres::contained(running)),
            Ok(None) => "no Docker engine answers",
            Err(error) => return Err(error),
        };
        #[cfg(not(feature = "containers"))]
        let no_container = "built without the feature";
        self.install(no_container)
    }

    /// Starts a private server, from programs that are there or are installed now.
    pub fn private(self) -> Result<Postgres> {
        match Programs::postgres() {
            Some(programs) => Postgres::started(programs, self.options),
            None => self.install("cannot be private"),
        }
    }

    fn install(self, no_container: &str) -> Result<Postgres> {
        if let Some(obstacle) = install::obstacle() {
            bail!(
                "no PostgreSQL for the tests; any of these gives one:\n\
                 - set {POSTGRES_URL} to the URL of a running server (not set)\n\
                 - put `postgres` and `initdb` into PATH or /usr/lib/postgresql/*/bin (not found)\n\
                 - feature `containers` and a Docker engine ({no_container})\n\
                 - run as root on Debian, to have the package installed ({obstacle})"
            );
        }
        install::postgres()?;
        let programs = Programs::postgres()
            .context("the package `postgresql` is installed, but brought no server programs")?;
        Postgres::started(programs, self.options)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { variable } => write!(f, "given by {variable}"),
            Self::Started { programs } => write!(f, "started from {}", programs.display()),
            Self::Container { image } => write!(f, "container of {image}"),
        }
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
