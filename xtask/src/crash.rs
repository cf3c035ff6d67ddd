//! `cargo xtask crash`: the kill harness.

use anyhow::Result;
use iobox_testkit::servers::adopt_orphans;

use crate::cargo::{cargo, check, root};
use crate::leftovers;

/// Where the figures of the last run are, in the root of the repository.
pub(crate) const FIGURES: &str = "target/crash.json";

/// Run the kill harness: relays, inboxes, Postgres, NATS and Redis are killed and started again under
/// load, and what was committed is compared with what arrived.
///
/// It starts servers of its own from the programs of this machine, and leaves its figures in
/// target/crash.json.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments for the harness, such as `--cycles 200` or `--seed 7`; `-- --help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    with(&args.args)
}

/// Runs it with these arguments.
pub(crate) fn with(args: &[String]) -> Result<()> {
    adopt_orphans()?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--package", "iobox-e2e"]);
    command.args(["--bench", "crash", "--", "--json"]);
    command.arg(root().join(FIGURES)).args(args);
    let run = check(&mut command);
    // Whatever became of the run, nothing of it goes on.
    let left = leftovers::check();
    run.and(left)
}
