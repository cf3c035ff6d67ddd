//! A private server of one process: one folder, one port, and the process that runs on them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::account::Account;
use super::folder::Folder;
use super::port::free_port;
use super::process::{POLL, Process};
use super::server::Child;

/// How long a server may take until it accepts connections, recovery included.
const START_MAX: Duration = Duration::from_secs(30);

/// What the log says when another process was faster to take the port, without its first letter.
const PORT_TAKEN: &str = "ddress already in use";

/// How much of the log an error shows.
const LOG_LINES_MAX: usize = 20;

/// Writes what a server needs into its folder, and returns its arguments for a port.
pub(super) type Configure = Box<dyn Fn(&Path, u16) -> Result<Vec<OsString>> + Send + Sync>;

/// How to run a server of one process.
pub(super) struct Spec {
    /// What its folder is named after.
    pub(super) name: &'static str,
    /// The users under whom it may run when we are root.
    pub(super) users: &'static [&'static str],
    /// The server program.
    pub(super) program: PathBuf,
    /// What its log says once it accepts connections, recovery done.
    pub(super) ready: &'static str,
    /// Configures it.
    pub(super) configure: Configure,
}

/// A folder and its server. The order of the fields is that of their ends.
pub(super) struct Daemon {
    process: Option<Process>,
    port: u16,
    spec: Spec,
    account: Account,
    folder: Folder,
}

impl Daemon {
    /// Makes a folder and starts a server on it.
    pub(super) fn create(spec: Spec) -> Result<Self> {
        let account = Account::choose(spec.users)?;
        let folder = Folder::new(spec.name, &account)?;
        let mut daemon = Self {
            process: None,
            port: free_port()?,
            spec,
            account,
            folder,
        };
        daemon.start_on(free_port)?;
        Ok(daemon)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server, again on `next_port` for as long as that is taken.
    fn start_on(&mut self, next_port: impl Fn() -> Result<u16>) -> Result<()> {
        ensure!(self.process.is_none(), "the server is running already");
        let deadline = Instant::now() + START_MAX;
        loop {
            let mut process = self.spawn()?;
            if self.await_ready(&mut process, deadline)? {
                self.process = Some(process);
                return Ok(());
            }
            let log = self.read_log();
            if !log.contains(PORT_TAKEN) || Instant::now() >= deadline {
                bail!(
                    "the server ended while starting; the end of its log:\n{}",
                    tail(&log)
                );
            }
            self.port = next_port()?;
            thread::sleep(POLL);
        }
    }

    fn spawn(&self) -> Result<Process> {
        let log = File::create(self.log()).context("cannot make the log of a server")?;
        let mut command = self.account.command(&self.spec.program);
        command
            .current_dir(self.folder.path())
            .args((self.spec.configure)(self.folder.path(), self.port)?)
            .stdin(Stdio::null())
            .stdout(
                log.try_clone()
                    .context("cannot share the log of a server")?,
            )
            .stderr(log);
        Process::spawn(command)
    }

    /// Returns whether the server is ready, or no if it has ended.
    ///
    /// Its own log tells: on a port that was taken somebody else's server would answer.
    fn await_ready(&self, process: &mut Process, deadline: Instant) -> Result<bool> {
        loop {
            if process.ended()?.is_some() {
                return Ok(false);
            }
            if self.read_log().contains(self.spec.ready) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the server is not ready after {START_MAX:?}; its log:\n{}",
                    tail(&self.read_log())
                );
            }
            thread::sleep(POLL);
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn read_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }
}

impl Child for Daemon {
    fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    fn start(&mut self) -> Result<()> {
        let port = self.port;
        self.start_on(|| Ok(port))
    }

    fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |process| process.stop(Signal::SIGTERM))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::crash)
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("name", &self.spec.name)
            .field("port", &self.port)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}
