//! Benchmarks of iobox: ratios of things that are measured side by side, in one run.
//!
//! `cargo xtask bench NAME` builds this in release and names a Postgres that syncs to the disk in
//! `IOBOX_TEST_POSTGRES_URL`, and brokers in variables of the same kind. Absolute figures belong to one machine at one moment; what counts are
//! the ratios, and nothing outside of `--check` depends on either.

#![allow(clippy::disallowed_methods, reason = "benchmarks measure the clock")]

mod broker;
mod file;
mod inbox;
mod keys;
mod latency;
mod machine;
mod memory;
mod nats;
mod publisher;
mod redis;
mod relay;
mod run;
mod schema;
mod table;
mod yardstick;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks of iobox.
#[derive(Debug, Parser)]
#[command(name = "iobox-bench")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Relay(relay::Args),
    Memory(memory::Args),
    Latency(latency::Args),
    Keys(keys::Args),
    Inbox(inbox::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let measured = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                match cli.bench {
                    Bench::Relay(args) => relay::measure(&args).await,
                    Bench::Memory(args) => memory::measure(&args).await,
                    Bench::Latency(args) => latency::measure(&args).await,
                    Bench::Keys(args) => keys::measure(&args).await,
                    Bench::Inbox(args) => inbox::measure(&args).await,
                }
            })
        });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
