//! `cargo xtask mutants`: changes of the dispatch machine that its tests must notice.

use std::process::Command;

use anyhow::Result;

use crate::cargo::{check, root};
use crate::tool::Tool;

const MUTANTS: Tool = Tool {
    name: "cargo-mutants",
    version: "27.1.0",
};

/// Change the dispatch machine in one place at a time, and see which change no rule test notices.
///
/// `.cargo/mutants.toml` says what is changed and which tests are asked; `docs/mutation.md` lists what
/// survives, and why. Takes about two hours on two cores; builds cargo-mutants into `target/tools` when
/// it is not there, which needs the registry. The results are in `target/mutants.out`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments for cargo-mutants, such as `--list` or `-f '**/settle.rs'`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    MUTANTS.get()?;
    let mut command = Command::new(MUTANTS.program());
    command.current_dir(root());
    command.args(["mutants", "--package", "iobox-core", "--output", "target"]);
    // The machine is tried with thousands of random schedules: optimised, without the time of a release.
    for profile in ["DEV", "TEST"] {
        command.env(format!("CARGO_PROFILE_{profile}_OPT_LEVEL"), "1");
        command.env(format!("CARGO_PROFILE_{profile}_DEBUG"), "0");
    }
    check(command.args(&args.args))
}
