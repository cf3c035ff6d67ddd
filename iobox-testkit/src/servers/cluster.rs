//! A private Postgres: one data folder, one port, and the server that runs on them.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::account::Account;
use super::folder::Folder;
use super::port::free_port;
use super::process::{POLL, Process};
use super::programs::{Programs, tool};
use super::server::Child;

/// How long a server may take until it accepts connections, crash recovery included.
const START_MAX: Duration = Duration::from_secs(30);

/// What the log says when another process was faster to take the port.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";

/// What the log says when leftovers of a killed server are still going.
const NOT_YET_GONE: [&str; 2] = [
    "pre-existing shared memory block",
    "lock file \"postmaster.pid\"",
];

/// How much of the log an error shows.
const LOG_LINES_MAX: usize = 20;

/// Set for every server; `durable` and the caller's own settings follow.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    // A temporary folder may have a path that is too long for a socket.
    ("unix_socket_directories", ""),
    ("jit", "off"),
    ("max_connections", "300"),
    ("max_prepared_transactions", "16"),
    // Files in the data folder, so that a killed server leaves nothing in /dev/shm.
    ("dynamic_shared_memory_type", "mmap"),
    // Where tests kill the server, a commit that was confirmed must be there afterwards.
    ("synchronous_commit", "on"),
];

/// How to run a private server.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Whether the data outlives the machine: fsync and full page writes.
    pub(super) durable: bool,
    /// Further settings, by name.
    pub(super) settings: Vec<(String, String)>,
}

/// A data folder and its server. The order of the fields is that of their ends.
#[derive(Debug)]
pub(super) struct Cluster {
    process: Option<Process>,
    port: u16,
    options: Options,
    programs: Programs,
    account: Account,
    folder: Folder,
}

impl Cluster {
    /// Makes a data folder and starts a server on it.
    pub(super) fn create(programs: Programs, options: Options) -> Result<Self> {
        let account = Account::choose(&["postgres", "nobody"])?;
        let folder = Folder::new("postgres", &account)?;
        let port = free_port()?;
        let mut cluster = Self {
            process: None,
            port,
            options,
            programs,
            account,
            folder,
        };
        cluster.initdb()?;
        cluster.start_on(free_port)?;
        Ok(cluster)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn initdb(&self) -> Result<()> {
        let output = self
            .command("initdb")
            .arg("-D")
            .arg(self.data())
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .stdin(Stdio::null())
            .output()
            .context("cannot run initdb")?;
        ensure!(
            output.status.success(),
            "initdb failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(())
    }

    /// Starts the server, again on `next_port` for as long as that is taken.
    fn start_on(&mut self, next_port: impl Fn() -> Result<u16>) -> Result<()> {
        ensure!(self.process.is_none(), "the server is running already");
        let deadline = Instant::now() + START_MAX;
        loop {
            let mut process = self.spawn()?;
            let Some(log) = self.await_ready(&mut process, deadline)? else {
                self.process = Some(process);
                return Ok(());
            };
            let port_taken = log.contains(PORT_TAKEN);
            let retry = port_taken || NOT_YET_GONE.iter().any(|text| log.contains(text));
            if !retry || Instant::now() >= deadline {
                bail!(
                    "the server ended while starting; the end of its log:\n{}",
                    tail(&log)
                );
            }
            if port_taken {
                self.port = next_port()?;
            }
            thread::sleep(POLL);
        }
    }

    fn spawn(&self) -> Result<Process> {
        let log = File::create(self.log()).context("cannot make the log of a server")?;
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-c")
            .arg(format!("port={}", self.port));
        let sync = if self.options.durable { "on" } else { "off" };
        let fixed = SETTINGS
            .into_iter()
            .chain([("fsync", sync), ("full_page_writes", sync)]);
        let own = self
            .options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.chain(own) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .stdin(Stdio::null())
            .stdout(
                log.try_clone()
                    .context("cannot share the log of a server")?,
            )
            .stderr(log);
        Process::spawn(command)
    }

    /// Returns nothing once the server is ready, or its log if it has ended.
    fn await_ready(&self, process: &mut Process, deadline: Instant) -> Result<Option<String>> {
        loop {
            if self.is_ready(process.pid()) {
                return Ok(None);
            }
            if process.ended()?.is_some() {
                return Ok(Some(fs::read_to_string(self.log()).unwrap_or_default()));
            }
            if Instant::now() >= deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                bail!(
                    "the server is not ready after {START_MAX:?}; its log:\n{}",
                    tail(&log)
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Reads what the server itself writes once it accepts connections, as `pg_ctl` does.
    ///
    /// To try a connection says less: on a port that was taken somebody else's server answers.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.lock_file()).unwrap_or_default();
        let mut lines = file.lines();
        let ours = lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid);
        ours && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    /// Removes the shared memory of a server that was killed and never started again.
    ///
    /// The next start does it otherwise, and the kernel never does.
    fn remove_shared_memory(&self) {
        let file = fs::read_to_string(self.lock_file()).unwrap_or_default();
        let id = file
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1));
        if let (Some(id), Some(ipcrm)) = (id, tool("ipcrm", None)) {
            // It is a few bytes, and the folder that tells its id goes next.
            let _ = Command::new(ipcrm)
                .args(["-m", id])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.account.command(self.programs.path(program));
        command.current_dir(self.folder.path());
        // PGDATA, PGPORT, PGOPTIONS and the like are about other servers.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // The log is searched for messages.
        command.env("LC_ALL", "C");
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn lock_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

impl Child for Cluster {
    fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    fn start(&mut self) -> Result<()> {
        let port = self.port;
        self.start_on(|| Ok(port))
    }

    /// A fast shutdown: open transactions are rolled back.
    fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |process| process.stop(Signal::SIGINT))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::crash)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("iobox-testkit: {error:#}");
        }
        self.remove_shared_memory();
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}
