//! `cargo xtask fuzz`: every parser and codec, driven by libFuzzer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::cargo::{add_rustflags, cargo, check, root};

/// Where the figures of the last run of all targets are, in the root of the repository.
const FIGURES: &str = "target/fuzz.json";
/// The package of the targets, outside of the workspace.
const PACKAGE: &str = "fuzz";
/// Everything that a run leaves behind.
const FOLDER: &str = "target/fuzz";

/// What `cargo fuzz` asks of the nightly compiler, but for its address sanitizer: counters on every
/// edge and the operands of comparisons, which the stable one has as passes of LLVM.
const COVERAGE: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// The bounds of a run: bytes of an input, seconds that one may take, megabytes of the process.
const BOUNDS: [&str; 3] = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"];

/// Drive every parser and codec with inputs that libFuzzer steers towards code that none has reached.
///
/// Needs a C++ compiler, since libFuzzer is built from its source, and no other toolchain than the
/// stable one. Inputs that reached something new stay in target/fuzz/corpus and are where the next run
/// begins; one that fails is written to target/fuzz/artifacts. A run of all targets leaves its figures
/// in target/fuzz.json.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The targets, by the names of their files in fuzz/fuzz_targets; all of them when none is named
    targets: Vec<String>,
    /// How long each of them is driven
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

/// What a target came to.
struct Run {
    target: String,
    inputs: u64,
    /// Edges of the program that some input reached.
    edges: u64,
    /// What it found, if it did.
    found: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let targets = chosen(&targets()?, &args.targets)?;
    let programs = build(&targets)?;
    let queue = Mutex::new(targets.iter());
    let runs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    let run = drive(&programs, target, args.seconds);
                    if let Ok(run) = &run {
                        println!("{}", told(run));
                    }
                    runs.lock().expect("no panic holds the lock").push(run);
                }
            });
        }
    });
    let runs = runs.into_inner().expect("no panic holds the lock");
    let runs = runs.into_iter().collect::<Result<Vec<_>>>()?;
    if args.targets.is_empty() {
        leave_figures(&runs, args.seconds)?;
    }
    let found: Vec<_> = runs.iter().filter_map(|run| run.found.as_deref()).collect();
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// The next of a queue; its lock is free again when this returns.
fn next<'a>(queue: &Mutex<std::slice::Iter<'a, String>>) -> Option<&'a String> {
    queue.lock().expect("no panic holds the lock").next()
}

/// The names of all targets, in order.
fn targets() -> Result<Vec<String>> {
    let folder = root().join(PACKAGE).join("fuzz_targets");
    let files = fs::read_dir(&folder);
    let files = files.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into()));
    }
    names.sort();
    Ok(names)
}

/// Those that were named, or all.
fn chosen(all: &[String], named: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!(
            "there is no fuzz target `{unknown}`; there are: {}",
            all.join(", ")
        );
    }
    let all = all.iter();
    Ok(all
        .filter(|name| named.is_empty() || named.contains(name))
        .cloned()
        .collect())
}

/// Builds the targets, and returns the folder of their programs.
fn build(targets: &[String]) -> Result<PathBuf> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let there = Command::new(&compiler).arg("--version").output();
    ensure!(
        there.is_ok_and(|output| output.status.success()),
        "libFuzzer is built from C++, and there is no compiler `{}`: install one (the package g++ on Debian), \
         or name one in CXX",
        compiler.display()
    );
    let host = host()?;
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--target-dir", FOLDER]);
    command.args(["--manifest-path", "fuzz/Cargo.toml"]);
    // With a target of its own, build scripts and macros are not instrumented.
    command.args(["--target", &host]);
    for target in targets {
        command.args(["--bin", target]);
    }
    add_rustflags(&mut command, &COVERAGE);
    check(&mut command)?;
    Ok(root().join(FOLDER).join(host).join("release"))
}

/// The triple of this machine.
fn host() -> Result<String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("-vV").output();
    let output = output.context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout).context("rustc answers with text")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| anyhow!("`rustc -vV` names no host"))
}

/// Drives a target for a time, from its seeds and what earlier runs found worth keeping.
fn drive(programs: &Path, target: &str, seconds: u32) -> Result<Run> {
    let folder = |what: &str| -> Result<PathBuf> {
        let path = root().join(FOLDER).join(what).join(target);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let (corpus, seeds, artifacts) = (folder("corpus")?, folder("seeds")?, folder("artifacts")?);
    let log = folder("logs")?.join("last.log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let program = programs.join(target);
    let mut command = Command::new(&program);
    command.env("IOBOX_FUZZ_SEEDS", &seeds);
    command.arg(format!("-max_total_time={seconds}"));
    command.args(BOUNDS).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // What is new goes to the first; the others are only read.
    command.args([&corpus, &seeds]);
    command.stdout(file.try_clone()?).stderr(file);
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    let said = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    let found = (!status.success()).then(|| {
        let artifact = after(&said, "Test unit written to ").unwrap_or_default();
        format!(
            "{target} failed ({status}); its output is {}, and this repeats it:\n    {} {artifact}",
            log.display(),
            program.display()
        )
    });
    Ok(Run {
        target: target.to_owned(),
        inputs: number(&said, "stat::number_of_executed_units:"),
        edges: number(&said, "cov:"),
        found,
    })
}

/// The last word that follows such a text.
fn after<'a>(said: &'a str, text: &str) -> Option<&'a str> {
    let (_, rest) = said.rsplit_once(text)?;
    rest.split_whitespace().next()
}

/// The last number that follows such a text; 0 where none does.
fn number(said: &str, text: &str) -> u64 {
    after(said, text)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

fn told(run: &Run) -> String {
    let Run { target, found, .. } = run;
    let end = if found.is_some() { "FAILED" } else { "ok" };
    format!(
        "{target}: {} inputs, {} edges reached, {end}",
        run.inputs, run.edges
    )
}

fn leave_figures(runs: &[Run], seconds: u32) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |time| time.as_secs());
    let targets: Vec<Value> = runs
        .iter()
        .map(|run| json!({"target": run.target, "inputs": run.inputs, "edges": run.edges}))
        .collect();
    let figures = json!({
        "unix_seconds": now,
        "seconds_each": seconds,
        "inputs": runs.iter().map(|run| run.inputs).sum::<u64>(),
        "targets": targets,
        "violations": runs.iter().filter(|run| run.found.is_some()).count(),
    });
    let text = serde_json::to_string_pretty(&figures).context("figures are JSON")?;
    fs::write(root().join(FIGURES), text).with_context(|| format!("cannot write {FIGURES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn all_are_chosen_where_none_is_named_and_an_unknown_one_is_refused() {
        let all = names(&["draft", "topic"]);
        assert_eq!(chosen(&all, &[]).expect("all"), all);
        let one = names(&["topic"]);
        assert_eq!(chosen(&all, &one).expect("one"), one);
        let error = chosen(&all, &names(&["topics"])).expect_err("unknown");
        let error = error.to_string();
        assert!(error.contains("`topics`"), "{error}");
        assert!(error.contains("draft, topic"), "{error}");
    }

    #[test]
    fn the_last_figures_of_an_output_count() {
        let said = "#2\tINITED cov: 12 ft: 13\n#90\tDONE   cov: 135 ft: 229\n\
                    stat::number_of_executed_units: 3085985\n\
                    Test unit written to artifacts/crash-1\n";
        assert_eq!(number(said, "cov:"), 135);
        assert_eq!(number(said, "stat::number_of_executed_units:"), 3_085_985);
        assert_eq!(number(said, "stat::average_exec_per_sec:"), 0);
        assert_eq!(
            after(said, "Test unit written to "),
            Some("artifacts/crash-1")
        );
    }
}
