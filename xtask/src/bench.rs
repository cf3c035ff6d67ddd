//! `cargo xtask bench`: the benchmarks, against servers that are as safe as in production.

use anyhow::Result;
use iobox_testkit::servers::adopt_orphans;

use crate::cargo::{cargo, check};
use crate::leftovers;
use crate::servers::Servers;

/// Run a benchmark, such as `relay` or `latency`.
///
/// Uses the Postgres in IOBOX_TEST_POSTGRES_URL, or starts one with fsync on, the NATS in
/// IOBOX_TEST_NATS_URL and the Redis in IOBOX_TEST_REDIS_URL, or starts them. Numbers depend on the
/// disk and on what else the machine does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The benchmark and its arguments; `-- --help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS",
        required = true
    )]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let package = ["--release", "--locked", "--package", "iobox-bench"];
    // First, so that the server does not wait for the compiler.
    check(cargo().arg("build").args(package))?;

    adopt_orphans()?;
    let servers = Servers::durable()?;
    eprintln!("{servers}");
    let mut command = cargo();
    command.arg("run").args(package).arg("--").args(&args.args);
    let measured = check(command.envs(servers.environment()));
    let stopped = servers.stop().and_then(|()| leftovers::check());
    measured.and(stopped)
}
