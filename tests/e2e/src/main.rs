//! One relay or one inbox in a process of its own, which a test kills, halts or stops.
//!
//! It tells its parent by lines on its output: `READY` when it works, `DRAINED ms` at its end, and
//! others when it stands where it is to be killed.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the process lives on the machine's clock"
)]

mod gauge;
mod inbox;
mod log;
mod place;
mod relay;

use std::{
    io::{Read as _, Write as _, stderr, stdin, stdout},
    process, thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;

/// What a process exits with whose parent is gone.
const ORPHANED: i32 = 3;

/// One process of a test.
#[derive(Debug, clap::Parser)]
struct Cli {
    /// Ends when the input is closed, so that no process outlives its parent
    #[arg(long, global = true)]
    leash: bool,
    #[command(subcommand)]
    role: Role,
}

/// What it is.
#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Publishes what an outbox holds
    Relay(Box<relay::Args>),
    /// Reads a broker and handles what comes
    Inbox(Box<inbox::Args>),
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    // What a process complains of stands beside the test that failed.
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(stderr)
        .with_env_filter(EnvFilter::new("warn"))
        .init();
    if cli.leash {
        thread::spawn(follow_parent);
    }
    let mut terminated = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let (told, signalled) = oneshot::channel();
    let shutdown = async move {
        terminated.recv().await;
        // The receiver lives until the role has ended.
        let _ = told.send(Instant::now());
    };
    match cli.role {
        Role::Relay(args) => relay::run(&args, shutdown).await?,
        Role::Inbox(args) => inbox::run(&args, shutdown).await?,
    }
    if let Ok(at) = signalled.await {
        say(&format!("DRAINED {}", at.elapsed().as_millis()));
    }
    Ok(())
}

/// Ends this process when its parent has ended and closed our input.
fn follow_parent() {
    let mut rest = Vec::new();
    // An input that cannot be read is as good as closed.
    let _ = stdin().read_to_end(&mut rest);
    process::exit(ORPHANED);
}

/// Tells the parent.
fn say(line: &str) {
    let mut out = stdout().lock();
    // A parent that is gone needs no news.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
