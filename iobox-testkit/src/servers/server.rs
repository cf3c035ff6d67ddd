//! The server that tests use: where it came from, where it runs, and who may stop it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, Result, bail};

#[cfg(feature = "containers")]
use super::container::Container;
use super::kind::Kind;
use super::programs::Programs;

/// What is said of a version that cannot be read.
pub(super) const UNKNOWN: &str = "(unknown version)";

/// A server that answers; a private one is stopped and removed on drop.
#[derive(Debug)]
pub struct Server {
    kind: &'static Kind,
    url: String,
    version: String,
    origin: Origin,
    host: Host,
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

/// A server process with its folder, as a direct child of this process.
pub(super) trait Child: fmt::Debug + Send + Sync {
    /// The process id while it runs.
    fn pid(&self) -> Option<u32>;
    /// Starts it again, on the same data and the same port.
    fn start(&mut self) -> Result<()>;
    /// Stops it as its administrator would; does nothing if it is down.
    fn stop(&mut self) -> Result<()>;
    /// Kills it as a crash would; does nothing if it is down.
    fn kill(&mut self) -> Result<()>;
}

#[derive(Debug)]
enum Host {
    Borrowed {
        private: bool,
    },
    Child(Box<dyn Child>),
    #[cfg(feature = "containers")]
    Container {
        _running: Container,
    },
}

impl Server {
    /// What it is, such as `PostgreSQL`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// The URL at which a client reaches it.
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
        !matches!(self.host, Host::Borrowed { private: false })
    }

    /// The process id of a server that this process started and that is running.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.host {
            Host::Child(child) => child.pid(),
            _ => None,
        }
    }

    /// The environment by which the same search finds this server in a child process.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let private = if self.is_private() { "1" } else { "" };
        vec![
            (self.kind.url, self.url.clone()),
            (self.kind.private, private.to_owned()),
        ]
    }

    /// Stops the server as its administrator would: sessions end, the data is flushed.
    ///
    /// Fails for a server that this process did not start; does nothing if it is down already.
    pub fn stop(&mut self) -> Result<()> {
        self.child("stop")?.stop()
    }

    /// Kills the server and all its processes with SIGKILL, as a crash would.
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

    fn child(&mut self, verb: &str) -> Result<&mut dyn Child> {
        match &mut self.host {
            Host::Child(child) => Ok(child.as_mut()),
            _ => bail!(
                "cannot {verb} a server that this process did not start ({})",
                self.origin
            ),
        }
    }

    /// One that the environment names.
    pub(super) fn borrowed(kind: &'static Kind, url: String, private: bool) -> Result<Self> {
        let version = (kind.ask_version)(&url)
            .with_context(|| format!("the server that {} names does not answer", kind.url))?;
        let origin = Origin::Given { variable: kind.url };
        Ok(Self {
            kind,
            url,
            version,
            origin,
            host: Host::Borrowed { private },
        })
    }

    /// One that `start` starts, from programs that were found; it returns the URL too.
    pub(super) fn started<C: Child + 'static>(
        kind: &'static Kind,
        programs: Programs,
        start: impl FnOnce(Programs) -> Result<(C, String)>,
    ) -> Result<Self> {
        let version = programs.version.clone();
        let origin = Origin::Started {
            programs: programs.folder.clone(),
        };
        let (child, url) = start(programs)
            .with_context(|| format!("cannot start {} {version} ({origin})", kind.name))?;
        Ok(Self {
            kind,
            url,
            version,
            origin,
            host: Host::Child(Box::new(child)),
        })
    }

    #[cfg(feature = "containers")]
    pub(super) fn contained(kind: &'static Kind, running: Container) -> Self {
        let url = running.url().to_owned();
        let version = (kind.ask_version)(&url).unwrap_or_else(|_| UNKNOWN.to_owned());
        let origin = Origin::Container {
            image: running.image().to_owned(),
        };
        Self {
            kind,
            url,
            version,
            origin,
            host: Host::Container { _running: running },
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name(), self.version, self.origin)
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

/// Returns what `cell` shares, or finds it; it ends with the last of its users.
pub(super) fn share<T>(cell: &Mutex<Weak<T>>, find: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    let mut shared = cell.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return Ok(running);
    }
    let found = Arc::new(find()?);
    *shared = Arc::downgrade(&found);
    Ok(found)
}
