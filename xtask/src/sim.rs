//! `cargo xtask sim`: the simulator, built with the planted bugs that it must find.

use anyhow::Result;

use crate::cargo::{add_rustflags, cargo, check, root};

/// Where the figures of the last whole campaign are, in the root of the repository.
const FIGURES: &str = "target/sim.json";

/// Run the simulator: protocol schedules with faults, each from a seed.
///
/// It is built with `--cfg iobox_bugs`, which lets it switch planted bugs on, and with
/// `--cfg tokio_unstable`, which lets it seed the runtime, in a target folder of its own, so that
/// other builds stay as they are. A whole campaign leaves its figures in target/sim.json.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments for the simulator, such as `--seeds 20000` or `--seed 7`; `-- --help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(crate) args: Vec<String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package", "iobox-sim"]);
    command
        .args(["--target-dir", "target/sim", "--", "--json"])
        .arg(root().join(FIGURES))
        .args(args);
    add_rustflags(&mut command, &["--cfg=iobox_bugs", "--cfg=tokio_unstable"]);
    check(&mut command)
}
