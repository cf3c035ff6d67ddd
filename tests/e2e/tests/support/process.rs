//! Processes of relays and inboxes: started, signalled, killed and reaped, also when a test panics.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _, BufReader},
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

/// A running relay or inbox. Killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
}

impl Process {
    /// Starts a relay on `database` that appends to its log.
    pub(crate) fn relay(database: &Database, run: &str, options: &[&str]) -> Self {
        Self::start("relay", database, run, options)
    }

    /// Starts an inbox on `database` whose plain handlers append to its log, and whose orders are
    /// among its files.
    pub(crate) fn inbox(database: &Database, run: &str, options: &[&str]) -> Self {
        let orders = database.file("").display().to_string();
        let options = [&["--orders", &orders], options].concat();
        Self::start("inbox", database, run, &options)
    }

    fn start(role: &str, database: &Database, run: &str, options: &[&str]) -> Self {
        let errors = database.file("errors");
        let stderr = OpenOptions::new().create(true).append(true).open(&errors);
        let mut child = Command::new(env!("CARGO_BIN_EXE_e2e-process"))
            .args([role, "--leash", "--run", run])
            .args(database.arguments())
            .arg("--log")
            .arg(database.log())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.expect("a file"))
            .spawn()
            .expect("a process");
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

    /// Waits until it works: a relay owns partitions, the handlers of an inbox are subscribed.
    pub(crate) async fn ready(&mut self) {
        self.line("READY").await;
    }

    /// Waits for a line whose first word is `word`, and returns the rest of it.
    pub(crate) async fn line(&mut self, word: &str) -> String {
        let mut found = None;
        until(LONG, word, async || {
            found = self.said(word);
            found.is_some()
        })
        .await;
        found.expect("a line")
    }

    /// The rest of the next line whose first word is `word`, if it was said. Lines before it are gone.
    pub(crate) fn said(&mut self, word: &str) -> Option<String> {
        loop {
            match self.lines.try_recv() {
                Ok(line) => {
                    // One word may begin as another does.
                    let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
                    if first == word {
                        return Some(rest.to_owned());
                    }
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => panic!("it ended; {}", self.errors()),
            }
        }
    }

    /// Whether it said a line whose first word is `word`; one that ended says no more.
    pub(crate) fn has_said(&mut self, word: &str) -> bool {
        let mut lines = self.lines.try_iter();
        lines.any(|line| line.split(' ').next() == Some(word))
    }

    /// What all processes of this database said on their error output.
    pub(crate) fn errors(&self) -> String {
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

    /// Kills it at once and reaps it, if it did not end before.
    pub(crate) fn strike(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Stops it by SIGTERM, which must end well. Returns how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        let drained = self.line("DRAINED").await;
        drained.parse::<u64>().expect("milliseconds");
        until(LONG, "the end of a process", async || {
            self.ended().is_some()
        })
        .await;
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

impl Drop for Process {
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
pub(crate) async fn stop_all(processes: impl IntoIterator<Item = Process>) {
    for process in processes {
        process.stop().await;
    }
}
