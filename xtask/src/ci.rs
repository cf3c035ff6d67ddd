//! `cargo xtask ci`: every check, in the order in which they fail fastest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cargo::{cargo, check};
use crate::{crash, deny, sim, test, tidy};

/// How many schedules the simulator runs.
const SEEDS: &str = "100000";
/// The kills of the harness: at least 60 of workers, 30 of Postgres, 20 of NATS and 20 of Redis.
const KILLS: [&str; 4] = ["--cycles", "120", "--seed", "1"];

/// Run every check: formatting, tidy, clippy, docs, licences and sources (where `cargo xtask deny` has
/// installed its program), a project that uses everything, the simulator, the exhaustive model,
/// all tests, and the kill harness.
///
/// Stops at the first that fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 10] = [
    Step {
        name: "fmt",
        run: fmt,
    },
    Step {
        name: "tidy",
        run: || tidy::run(&tidy::Args::default()),
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "docs",
        run: docs,
    },
    Step {
        name: "deny",
        run: deny::run_if_there,
    },
    Step {
        name: "downstream",
        run: downstream,
    },
    Step {
        name: "sim",
        run: || sim::run(&["--seeds".to_owned(), SEEDS.to_owned()]),
    },
    Step {
        name: "model",
        run: || sim::run(&["--model".to_owned()]),
    },
    Step {
        name: "test",
        run: || test::run(&test::Args::default()),
    },
    Step {
        name: "crash",
        run: || crash::with(&KILLS.map(str::to_owned)),
    },
];

pub(crate) fn run(_: &Args) -> Result<()> {
    let mut times = Vec::new();
    for step in &STEPS {
        eprintln!("\n==> {}", step.name);
        let start = Instant::now();
        let result = (step.run)();
        let time = start.elapsed();
        eprintln!("==> {}: {:.1} s", step.name, time.as_secs_f64());
        times.push((step.name, time, result.is_ok()));
        if result.is_err() {
            eprint!("\n{}", table(&times));
            return result.with_context(|| format!("step {}", step.name));
        }
    }
    eprint!("\n{}", table(&times));
    Ok(())
}

fn fmt() -> Result<()> {
    check(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut command = cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    check(&mut command)
}

fn docs() -> Result<()> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--locked"]);
    check(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Builds a project that is not of this workspace and uses everything, beside sqlx.
fn downstream() -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--locked"]);
    command.args(["--manifest-path", "tests/downstream/Cargo.toml"]);
    command.args(["--target-dir", "target/downstream"]);
    check(&mut command)
}

fn table(times: &[(&str, Duration, bool)]) -> String {
    let row = |name: &str, time: Duration, end: &str| {
        let row = format!("{name:<10} {:>8.1} s  {end}", time.as_secs_f64());
        row.trim_end().to_owned() + "\n"
    };
    let rows = times
        .iter()
        .map(|(name, time, ok)| row(name, *time, if *ok { "ok" } else { "FAILED" }));
    let total = times.iter().map(|(_, time, _)| *time).sum();
    rows.chain([row("total", total, "")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_each_step_and_the_sum() {
        let times = [
            ("fmt", Duration::from_millis(1_250), true),
            ("tidy", Duration::from_secs(2), false),
        ];
        let expected =
            "fmt             1.2 s  ok\ntidy            2.0 s  FAILED\ntotal           3.2 s\n";
        assert_eq!(table(&times), expected);
    }
}
