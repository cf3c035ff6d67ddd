//! `cargo xtask deny`: licences, banned crates and sources, by a cargo-deny of one version.

use std::process::Command;

use anyhow::Result;

use crate::cargo::{check, root};
use crate::tool::Tool;

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

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
    DENY.get()?;
    judge(args.advisories)
}

/// The same for CI, which does not wait for the installation, and says so.
pub(crate) fn run_if_there() -> Result<()> {
    if DENY.is_there() {
        return judge(false);
    }
    let (name, version) = (DENY.name, DENY.version);
    eprintln!("not checked: {name} {version} is not there; `cargo xtask deny` installs it");
    Ok(())
}

fn judge(advisories: bool) -> Result<()> {
    let mut command = Command::new(DENY.program());
    command.current_dir(root());
    command.args(["--locked", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    check(&mut command)
}
