//! The child processes of a process, found in `/proc`; orphans, adopted and reaped.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A child process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildProcess {
    /// The process id.
    pub pid: u32,
    /// The name of the program, cut by the kernel to 15 bytes.
    pub name: String,
    /// Its state, a letter as in proc(5): `R`unning, `S`leeping, s`T`opped, `Z`ombie and others.
    pub state: char,
}

impl ChildProcess {
    /// Whether it has ended and waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// Returns the direct children of process `parent`; empty where there is no `/proc`.
#[must_use]
pub fn children(parent: u32) -> Vec<ChildProcess> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let (child, its_parent) = read_stat(pid, &entry.path())?;
            (its_parent == parent).then_some(child)
        })
        .collect()
}

/// Makes this process the parent of its orphaned descendants, from now until it ends.
///
/// Without it the children of a killed server become children of PID 1, where nobody here can
/// wait for their end, and where a container without an init process keeps them as zombies.
/// Does nothing where the system has no such call.
pub fn adopt_orphans() -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).context("cannot adopt orphaned processes")?;
    Ok(())
}

/// Reaps child `pid` if it has ended; returns whether it is gone.
///
/// Only for children that nobody holds a [`std::process::Child`] of, such as adopted orphans:
/// their status is lost.
pub fn reap(pid: u32) -> Result<bool> {
    let pid = Pid::from_raw(i32::try_from(pid).context("no process id")?);
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => Ok(false),
        Ok(_) => Ok(true),
        // Not ours, so either reaped by somebody else or never a child of this process.
        Err(Errno::ECHILD) => Ok(!Path::new("/proc").join(pid.to_string()).exists()),
        Err(error) => Err(error).with_context(|| format!("cannot wait for process {pid}")),
    }
}

/// Parses `pid (name) state parent …`; the name may itself hold spaces and brackets.
fn read_stat(pid: u32, folder: &Path) -> Option<(ChildProcess, u32)> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((
        ChildProcess {
            pid,
            name: name.to_owned(),
            state,
        },
        parent,
    ))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{self, Command};

    use super::*;

    #[test]
    fn a_child_is_seen_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let seen = || {
            children(process::id())
                .into_iter()
                .find(|c| c.pid == child.id())
        };
        assert!(seen().is_some_and(|c| !c.is_zombie()));
        assert!(!reap(child.id()).expect("a child"));
        child.kill().expect("a running child");
        child.wait().expect("a killed child");
        assert!(children(process::id()).iter().all(|c| c.pid != child.id()));
        assert!(reap(child.id()).expect("no such process is no error"));
    }
}
