//! Processes that outlived the task that started them.

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use iobox_testkit::servers::{ChildProcess, children, reap};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end after its server was stopped or its test is over.
const END_MAX: Duration = Duration::from_secs(5);

/// Compiler caches stay on purpose, for the next build.
const ALLOWED: [&str; 2] = ["sccache", "ccache"];

/// Fails if a process is left that this one started, directly or through others.
///
/// Needs `adopt_orphans` to have been called first: then every descendant whose parent has ended
/// is a child of this process. What is left is killed.
pub(crate) fn check() -> Result<()> {
    let deadline = Instant::now() + END_MAX;
    let left = loop {
        let left = running()?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break left;
        }
        thread::sleep(Duration::from_millis(20));
    };
    for process in &left {
        if let Ok(pid) = i32::try_from(process.pid) {
            // It may end by itself just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let names: Vec<String> = left
        .iter()
        .map(|process| format!("{} ({})", process.name, process.pid))
        .collect();
    bail!(
        "left running after the tests, and killed now: {}",
        names.join(", ")
    )
}

/// Reaps the children that have ended and returns the others.
fn running() -> Result<Vec<ChildProcess>> {
    let mut running = Vec::new();
    for child in children(process::id()) {
        let ended = child.is_zombie() && reap(child.pid)?;
        if !ended && !ALLOWED.contains(&child.name.as_str()) {
            running.push(child);
        }
    }
    Ok(running)
}
