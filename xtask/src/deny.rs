//! `cargo xtask deny`: licences, banned crates and sources, by a cargo-deny of one version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cargo::{cargo, check, root};

/// The version of cargo-deny: another one may judge otherwise.
const VERSION: &str = "0.20.2";

/// Check licences, banned crates and sources of every dependency with cargo-deny, as `deny.toml` says.
///
/// Builds cargo-deny into `target/tools` when it is not there, which takes several minutes and needs the
/// registry, as the check itself does when a dependency of another platform was never fetched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check for advisories, too; needs their database, which is fetched
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !is_there() {
        install()?;
        ensure!(
            is_there(),
            "{} is not cargo-deny {VERSION}",
            program().display()
        );
    }
    judge(args.advisories)
}

/// The same for CI, which does not wait for the installation, and says so.
pub(crate) fn run_if_there() -> Result<()> {
    if is_there() {
        return judge(false);
    }
    eprintln!("not checked: cargo-deny {VERSION} is not there; `cargo xtask deny` installs it");
    Ok(())
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

fn program() -> PathBuf {
    tools().join("bin/cargo-deny")
}

fn is_there() -> bool {
    let output = Command::new(program()).arg("--version").output();
    output.is_ok_and(|output| is_version(&String::from_utf8_lossy(&output.stdout)))
}

/// Whether cargo-deny says that it has the version.
fn is_version(said: &str) -> bool {
    said.trim() == format!("cargo-deny {VERSION}")
}

fn install() -> Result<()> {
    let mut command = cargo();
    command.args(["install", "cargo-deny", "--locked", "--version", VERSION]);
    // It runs for seconds: what an optimised one would save, building it costs many times over.
    command.args(["--profile", "dev", "--config", "profile.dev.debug=false"]);
    command.arg("--root").arg(tools());
    check(command.arg("--target-dir").arg(tools().join("build")))?;
    // Hundreds of megabytes that nobody needs again.
    std::fs::remove_dir_all(tools().join("build"))?;
    Ok(())
}

fn judge(advisories: bool) -> Result<()> {
    let mut command = Command::new(program());
    command.current_dir(root());
    command.args(["--locked", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    check(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken() {
        assert!(is_version(&format!("cargo-deny {VERSION}\n")));
        for other in ["cargo-deny 0.20.20", "cargo-deny 0.14.2\n", "", VERSION] {
            assert!(!is_version(other), "{other}");
        }
    }
}
