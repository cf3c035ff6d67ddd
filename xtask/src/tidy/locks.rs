//! Lock files beside that of the workspace name what the crates of the workspace depend on today.
//!
//! The workspace does not write them, and each of them is built with `--locked`: a dependency that a
//! crate was given, and such a lock was not, ends that build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::finding::Finding;
use super::tree::Tree;
use crate::cargo::cargo;

/// The packages that a package depends on where it is a dependency itself: without what only its tests need.
#[derive(Debug, Default, Clone)]
struct Dependencies {
    needed: BTreeSet<String>,
    /// Those that a feature brings, which is in a lock only where it is asked for.
    optional: BTreeSet<String>,
}

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let workspace = dependencies(&metadata(tree, Path::new("Cargo.toml"))?)?;
    let mut findings = Vec::new();
    for path in tree.with_extension("lock") {
        if path == "Cargo.lock" {
            continue;
        }
        let manifest = path.with_extension("toml");
        let mut wanted = workspace.clone();
        wanted.extend(dependencies(&metadata(tree, &manifest)?)?);
        for (line, name) in stale(&tree.text(path)?, &wanted) {
            let message = format!(
                "the dependencies of {name} have changed; run `cargo update --workspace --manifest-path {}`",
                manifest.display()
            );
            findings.push(Finding::new(path, line, message));
        }
    }
    Ok(findings)
}

/// What cargo tells about the packages of a workspace.
pub(crate) fn metadata(tree: &Tree, manifest: &Path) -> Result<Value> {
    let mut command = cargo();
    command.current_dir(tree.root());
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    command.arg("--manifest-path").arg(manifest);
    let output = command.output().context("cannot run cargo metadata")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        errors.trim_end()
    );
    serde_json::from_slice(&output.stdout).context("cargo's metadata is no JSON")
}

fn dependencies(metadata: &Value) -> Result<BTreeMap<String, Dependencies>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo's metadata has no packages")?;
    let mut all = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let list = package["dependencies"]
            .as_array()
            .context("no list of dependencies")?;
        let of: &mut Dependencies = all.entry(name.to_owned()).or_default();
        for dependency in list.iter().filter(|dependency| dependency["kind"] != "dev") {
            let name = dependency["name"]
                .as_str()
                .context("a dependency has no name")?;
            let optional = dependency["optional"] == true;
            let kind = if optional {
                &mut of.optional
            } else {
                &mut of.needed
            };
            kind.insert(name.to_owned());
        }
    }
    Ok(all)
}

/// Returns the packages without a source whose dependencies are others than are wanted, and the lines of
/// their names, counted from 1.
fn stale(lock: &str, wanted: &BTreeMap<String, Dependencies>) -> Vec<(usize, String)> {
    let mut stale = Vec::new();
    let mut first = 1;
    for entry in lock.split("[[package]]\n") {
        let value = |key: &str| {
            let mut values = entry.lines().filter_map(|line| line.strip_prefix(key));
            values
                .next()
                .map(|value| value.trim_matches([' ', '=', '"']))
        };
        // A dependency is its name, with the version behind it where there are several.
        let listed = entry.lines().filter_map(|line| line.strip_prefix(" \""));
        let listed = listed.filter_map(|line| line.split([' ', '"']).next());
        let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
        if let (Some(name), None) = (value("name "), value("source "))
            && let Some(Dependencies { needed, optional }) = wanted.get(name)
            && !(needed.is_subset(&listed)
                && listed
                    .iter()
                    .all(|name| needed.contains(name) || optional.contains(name)))
        {
            stale.push((first, name.to_owned()));
        }
        first += entry.lines().count() + 1;
    }
    stale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"elsewhere\"\nversion = \"0.1.0\"\n\
        dependencies = [\n \"iobox-core\",\n]\n\n\
        [[package]]\nname = \"iobox-core\"\nversion = \"0.1.0\"\ndependencies = [\n \"tokio\",\n]\n\n\
        [[package]]\nname = \"tokio\"\nversion = \"1.0.0\"\n\
        source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";

    fn found(lock: &str) -> Vec<String> {
        let core = "[workspace]\n[package]\nname = \"iobox-core\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
            [dependencies]\ntokio = \"1\"\ntime = { version = \"1\", optional = true }\n[dev-dependencies]\nserde = \"1\"\n";
        let elsewhere = "[workspace]\n[package]\nname = \"elsewhere\"\nversion = \"0.1.0\"\n\
            edition = \"2024\"\n[dependencies]\niobox-core = { path = \"../..\" }\n";
        findings(
            check,
            &[
                ("Cargo.toml", core),
                ("src/lib.rs", "//! A crate.\n"),
                ("tests/elsewhere/Cargo.toml", elsewhere),
                ("tests/elsewhere/src/main.rs", "fn main() {}\n"),
                ("tests/elsewhere/Cargo.lock", lock),
            ],
        )
    }

    #[test]
    fn what_only_tests_need_is_not_in_it_and_what_a_feature_brings_may_be() {
        assert_eq!(found(LOCK), [""; 0]);
        let all = LOCK.replace(" \"tokio\",\n", " \"time 1.0.0\",\n \"tokio\",\n");
        assert_eq!(found(&all), [""; 0]);
    }

    #[test]
    fn a_dependency_too_few_is_found_and_one_too_many() {
        let told = |line: u32, name: &str| {
            format!(
                "tests/elsewhere/Cargo.lock:{line}: the dependencies of {name} have changed; \
                 run `cargo update --workspace --manifest-path tests/elsewhere/Cargo.toml`"
            )
        };
        let none = LOCK.replace("dependencies = [\n \"tokio\",\n]\n", "");
        assert_eq!(found(&none), [told(11, "iobox-core")]);
        let more = LOCK.replace(" \"tokio\",\n", " \"serde\",\n \"tokio\",\n");
        assert_eq!(found(&more), [told(11, "iobox-core")]);
        let other = LOCK.replace(" \"iobox-core\",\n", " \"iobox\",\n");
        assert_eq!(found(&other), [told(4, "elsewhere")]);
    }
}
