//! A server process: a direct child, signalled, waited for within bounds, reaped on drop.

use std::process::{self, Child, Command, ExitStatus};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::children::{adopt_orphans, children, reap};

/// How often a state is looked at that nothing announces.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// How long a server may take to stop by itself, and the kernel to end a killed one.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running child process; dropping it stops and reaps it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    keeper: Keeper,
}

impl Process {
    /// Starts `command` as a child of this process.
    pub(super) fn spawn(mut command: Command) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let (child, keeper) = Keeper::run(move || (command.spawn(), ()), drop)?;
        let child = child.with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, keeper })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the process ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for a server")
    }

    /// Asks the process to end with `signal`, then kills it if it takes too long.
    pub(super) fn stop(mut self, signal: Signal) -> Result<()> {
        self.end(signal)
    }

    /// Kills the process and its children at once, as a crash would, and waits for the last one.
    ///
    /// The children are counted while the process is halted, so none can escape.
    pub(super) fn crash(mut self) -> Result<()> {
        adopt_orphans()?;
        self.signal(Signal::SIGSTOP)?;
        let halted = |child: &super::ChildProcess| child.state == 'T' || child.is_zombie();
        let pid = self.pid();
        poll_until(STOP_MAX, || {
            Ok(children(process::id())
                .iter()
                .find(|c| c.pid == pid)
                .is_none_or(halted))
        })?;
        let orphans = children(pid);
        self.signal(Signal::SIGKILL)?;
        for orphan in &orphans {
            signal(orphan.pid, Signal::SIGKILL)?;
        }
        self.child
            .wait()
            .context("cannot wait for a killed server")?;
        for orphan in &orphans {
            if !poll_until(STOP_MAX, || reap(orphan.pid))? {
                bail!(
                    "process {} ({}) does not end when killed",
                    orphan.pid,
                    orphan.name
                );
            }
        }
        Ok(())
    }

    fn end(&mut self, first: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        self.signal(first)?;
        if poll_until(STOP_MAX, || Ok(self.ended()?.is_some()))? {
            return Ok(());
        }
        self.signal(Signal::SIGKILL)?;
        self.child
            .wait()
            .context("cannot wait for a killed server")?;
        bail!(
            "server {} did not stop within {STOP_MAX:?} and was killed",
            self.pid()
        )
    }

    fn signal(&mut self, wanted: Signal) -> Result<()> {
        // An ended child keeps its pid until it is waited for, so this meets no other process.
        if self.ended()?.is_none() {
            signal(self.pid(), wanted)
        } else {
            Ok(())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end(Signal::SIGINT) {
            eprintln!("iobox-testkit: {error:#}");
        }
        self.keeper.leave();
    }
}

/// A thread that lives as long as what it made.
///
/// The kernel's parent-death signal is sent when the *thread* that spawned a child ends, and a
/// test's thread ends before a server does that tests share.
#[derive(Debug)]
pub(super) struct Keeper {
    stay: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Runs `make` on a new thread and returns its first result.
    ///
    /// The thread stays until [`Keeper::leave`], then gives the second one to `finish`.
    pub(super) fn run<T, K>(
        make: impl FnOnce() -> (T, K) + Send + 'static,
        finish: impl FnOnce(K) + Send + 'static,
    ) -> Result<(T, Self)>
    where
        T: Send + 'static,
    {
        let (told, result) = sync_channel(1);
        let (stay, left) = sync_channel(0);
        let work = move || {
            let (made, kept) = make();
            if told.send(made).is_ok() {
                // Ends with an error, when the other side is dropped; nothing is ever sent.
                let _ = left.recv();
            }
            finish(kept);
        };
        let thread = thread::Builder::new()
            .name("iobox-server".to_owned())
            .spawn(work)
            .context("cannot start the thread of a server")?;
        let made = result.recv().context("the thread of a server panicked")?;
        Ok((
            made,
            Self {
                stay: Some(stay),
                thread: Some(thread),
            },
        ))
    }

    /// Lets the thread end, and waits for that.
    pub(super) fn leave(&mut self) {
        self.stay = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

/// Asks `done` every few milliseconds; returns whether it said yes within `bound`.
pub(super) fn poll_until(bound: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + bound;
    loop {
        if done()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let target = Pid::from_raw(i32::try_from(pid).context("no process id")?);
    match kill(target, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to {pid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command).expect("a shell")
    }

    fn is_child(pid: u32) -> bool {
        children(process::id()).iter().any(|child| child.pid == pid)
    }

    #[test]
    fn a_dropped_process_is_reaped() {
        let server = shell("exec sleep 60");
        let pid = server.pid();
        drop(server);
        assert!(!is_child(pid));
    }

    #[test]
    fn a_process_is_reaped_when_its_owner_panics() {
        let (told, pid) = sync_channel(1);
        let owner = thread::spawn(move || {
            let server = shell("exec sleep 60");
            told.send(server.pid()).expect("a listener");
            panic!("as a failing test does");
        });
        owner.join().expect_err("the owner panics");
        assert!(!is_child(pid.recv().expect("a pid")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_crash_takes_the_children_along() {
        let server = shell("sleep 60 & sleep 60 & wait");
        let pid = server.pid();
        poll_until(STOP_MAX, || Ok(children(pid).len() == 2)).expect("no error");
        let orphans = children(pid);
        assert_eq!(orphans.len(), 2);
        server.crash().expect("a crash");
        for child in orphans {
            assert!(!is_child(child.pid), "{child:?} is left");
        }
    }

    #[test]
    fn a_process_that_does_not_start_is_an_error() {
        let error = Process::spawn(Command::new("/nowhere/server")).expect_err("no such program");
        assert!(error.to_string().contains("/nowhere/server"));
    }
}
