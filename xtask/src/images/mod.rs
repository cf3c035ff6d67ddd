//! `cargo xtask images`: container images of the server programs on this machine.

mod docker;
mod libraries;
mod plan;
mod tree;

use std::time::Instant;

use anyhow::{Context as _, Result};

use plan::Plan;
use tree::Tree;

/// Build small container images of the server programs on this machine.
///
/// For engines without a registry. Takes the programs that the tests would take, the libraries that
/// `ldd` names and an entry script; needs `docker`, and an engine at DOCKER_HOST. Prints the lines that
/// make `cargo xtask test --containers` use the images.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    // What is missing is told before anything is built.
    println!("Docker engine {}", docker::version()?);
    let plans = [Plan::postgres()?, Plan::nats()?, Plan::redis()?];
    for plan in &plans {
        let start = Instant::now();
        let bytes = build(plan).with_context(|| format!("cannot build {}", plan.image))?;
        println!(
            "{}: {} {}, {:.1} MB, {:.1} s",
            plan.image,
            plan.server.display(),
            plan.version,
            f64::from(bytes) / 1e6,
            start.elapsed().as_secs_f64()
        );
    }
    println!();
    for plan in &plans {
        println!("export {}={}", plan.variable, plan.image);
    }
    Ok(())
}

/// Builds an image and returns its size in bytes.
fn build(plan: &Plan) -> Result<u32> {
    let tree = Tree::create()?;
    for program in &plan.programs {
        tree.add_program(program)?;
    }
    for folder in &plan.folders {
        tree.add_folder(folder)?;
    }
    tree.add_script(plan::ENTRY, plan.entry)?;
    docker::import(tree.folder(), &plan.changes(), &plan.image)?;
    docker::size(&plan.image)
}
