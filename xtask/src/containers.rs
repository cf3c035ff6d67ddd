//! `cargo xtask test --containers`: the adapters against servers in containers.

use anyhow::Result;

use crate::test::Args;

/// The packages whose tests use the servers.
pub(crate) const PACKAGES: [&str; 3] = ["iobox-postgres", "iobox-nats", "iobox-redis"];

/// Starts the containers and tests with them.
#[cfg(feature = "containers")]
pub(crate) fn run(args: &Args) -> Result<()> {
    use crate::servers::Servers;
    use crate::test;

    println!("Tests that stop, kill or set up a server start one from programs all the same.");
    test::with(Servers::contained()?, args)
}

/// Does this task in a program that is built with the feature.
#[cfg(not(feature = "containers"))]
pub(crate) fn run(_: &Args) -> Result<()> {
    use crate::cargo::{cargo, check};

    let mut command = cargo();
    command.args(["run", "--locked", "--package", "xtask", "--features"]);
    command.args(["containers", "--"]);
    check(command.args(std::env::args_os().skip(1)))
}
