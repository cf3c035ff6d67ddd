//! The repository's own tasks: `cargo xtask <task>`.

#![allow(
    clippy::disallowed_methods,
    reason = "tasks start programs, wait for them and measure the time"
)]

mod bench;
mod cargo;
mod ci;
mod containers;
mod crash;
mod deny;
mod fuzz;
mod images;
mod leftovers;
mod matrix;
mod mutants;
mod scorecard;
mod servers;
mod sheet;
mod sim;
mod test;
mod tidy;
mod tool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The repository's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Test(test::Args),
    Tidy(tidy::Args),
    Ci(ci::Args),
    Sim(sim::Args),
    Crash(crash::Args),
    Scorecard(scorecard::Args),
    Bench(bench::Args),
    Images(images::Args),
    Deny(deny::Args),
    Fuzz(fuzz::Args),
    Mutants(mutants::Args),
    Sheet(sheet::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Sim(args) => sim::run(&args.args),
        Task::Crash(args) => crash::run(&args),
        Task::Scorecard(args) => scorecard::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Images(args) => images::run(&args),
        Task::Deny(args) => deny::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Sheet(args) => sheet::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
