//! Relay processes: started, signalled, killed and reaped, also when a test panics.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{LONG, database::Database, until};

/// How many lines a process may print that nobody reads.
const LINES: usize = 10_000;

/// A running relay. Killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
}

impl Relay {
    /// Starts a relay on `database` that appends to its log.
    pub(crate) fn start(database: &Database, run: &str, options: &[&str]) -> Self {
        let errors = database.file("errors");
        let stderr = OpenOptions::new().create(true).append(true).open(&errors);
        let mut child = Command::new(env!("CARGO_BIN_EXE_relay-process"))
            .args(["--leash", "--run", run])
            .args(database.arguments())
            .arg("--log")
            .arg(database.log())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.expect("a file"))
            .spawn()
            .expect("a relay");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (told, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            errors,
        }
    }

    /// Waits until it owns partitions.
    pub(crate) async fn ready(&mut self) {
        self.line("READY").await;
    }

    /// Waits for a line that starts with `word`, and returns the rest of it.
    pub(crate) async fn line(&mut self, word: &str) -> String {
        let mut found = None;
        until(LONG, word, async || {
            loop {
                match self.lines.try_recv() {
                    Ok(line) => found = line.strip_prefix(word).map(|rest| rest.trim().to_owned()),
                    Err(TryRecvError::Empty) => return false,
                    Err(TryRecvError::Disconnected) => panic!("it ended; {}", self.errors()),
                }
                if found.is_some() {
                    return true;
                }
            }
        })
        .await;
        found.expect("a line")
    }

    /// What all relays of this database said on their error output.
    fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a state")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // It is our child and not reaped yet, so the number is still its own.
        kill(Pid::from_raw(pid), signal).expect("a signal");
    }

    /// Kills it at once and reaps it.
    pub(crate) fn kill(mut self) {
        assert!(self.ended().is_none(), "it ended before; {}", self.errors());
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
    }

    /// Stops it by SIGTERM, which must end well. Returns how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        let drained = self.line("DRAINED").await;
        drained.parse::<u64>().expect("milliseconds");
        until(LONG, "the end of a relay", async || self.ended().is_some()).await;
        let took = asked.elapsed();
        let status = self.ended().expect("an end");
        assert!(status.success(), "{status}; {}", self.errors());
        took
    }

    /// Its resident memory in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.expect("VmRSS").trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.errors());
        }
    }
}

/// Stops them all.
pub(crate) async fn stop_all(relays: impl IntoIterator<Item = Relay>) {
    for relay in relays {
        relay.stop().await;
    }
}
