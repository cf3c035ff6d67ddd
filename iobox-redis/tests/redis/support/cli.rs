//! The command line client of the server.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use iobox_testkit::servers::{Origin as From, Redis};

/// Runs the client that belongs to the server, or one in `PATH`.
pub(crate) fn redis_cli(server: &Redis, arguments: &[&str]) -> Result<String> {
    redis_cli_with(server, arguments, &[])
}

/// The same, with these bytes as its input.
pub(crate) fn redis_cli_with(server: &Redis, arguments: &[&str], input: &[u8]) -> Result<String> {
    let mut programs = vec!["redis-cli".into(), "valkey-cli".into()];
    if let From::Started { programs: folder } = server.origin() {
        for name in ["valkey-cli", "redis-cli"] {
            programs.insert(0, folder.join(name));
        }
    }
    for program in programs {
        let started = Command::new(&program)
            .args(["-u", server.url()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut client) = started else {
            continue;
        };
        // The pipe ends when it is dropped; a client that reads no input may have ended before.
        if let Some(mut pipe) = client.stdin.take() {
            let _ = pipe.write_all(input);
        }
        let output = client.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return String::from_utf8(output.stdout).context("text");
    }
    anyhow::bail!("neither redis-cli nor valkey-cli is in PATH")
}
