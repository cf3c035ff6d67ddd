//! Which crate may depend on which.
//!
//! Core depends on no other crate of ours; adapters on core; testkit on core; the facade on core
//! and adapters; nothing on the facade but examples, tests and benches.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::finding::Finding;
use super::furniture::{PUBLISHERS, STORES};
use super::locks::metadata;
use super::tree::Tree;

/// What a crate is in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Core,
    Adapter,
    Testkit,
    Facade,
    /// Examples, tests and benches that are crates of their own.
    User,
    Tool,
}

/// A crate of ours, as cargo tells it.
#[derive(Debug)]
struct Crate {
    name: String,
    manifest: PathBuf,
    edges: Vec<Edge>,
}

/// A dependency on a crate of ours.
#[derive(Debug)]
struct Edge {
    to: String,
    dev: bool,
    /// Whether the manifest asks for a version, as a published crate does.
    versioned: bool,
}

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let metadata = metadata(tree, Path::new("Cargo.toml"))?;
    let root = fs::canonicalize(tree.root()).context("cannot find the repository")?;
    let crates = read(&metadata, &root)?;

    let mut findings = Vec::new();
    for (manifest, name, message) in judge(&crates) {
        let text = tree.text(manifest)?;
        let at = text.lines().position(|line| names(line, &name));
        findings.push(Finding::new(
            manifest,
            at.map_or(1, |index| index + 1),
            message,
        ));
    }
    Ok(findings)
}

/// Returns for each edge that must not be its manifest, its target and what to do.
fn judge(crates: &[Crate]) -> Vec<(&Path, String, String)> {
    let mut findings = Vec::new();
    for from in crates {
        let mut find = |name: &str, message: String| {
            findings.push((from.manifest.as_path(), name.to_owned(), message));
        };
        let Some(role) = role(from) else {
            let message = format!("give {} a role in xtask/src/tidy/edges.rs", from.name);
            find("name", message);
            continue;
        };
        for edge in &from.edges {
            // A target without a role is a finding of its own.
            let to = crates
                .iter()
                .find(|other| other.name == edge.to)
                .and_then(self::role);
            let Some(message) = to.and_then(|to| objection(role, to, edge)) else {
                continue;
            };
            find(
                &edge.to,
                format!("{} must not depend on {}: {message}", from.name, edge.to),
            );
        }
    }
    findings
}

fn objection(from: Role, to: Role, edge: &Edge) -> Option<&'static str> {
    match (from, to) {
        (Role::Core, _) => Some("core depends on no other crate of ours"),
        (Role::Adapter, Role::Testkit) if !edge.dev => Some("only as a dev-dependency"),
        (Role::Adapter, Role::Testkit) if edge.versioned => {
            Some("only by path, without a version, or neither can be published first")
        }
        (Role::Adapter, Role::Core | Role::Testkit) => None,
        (Role::Adapter, _) => Some("adapters depend on core only"),
        (Role::Testkit, Role::Core) => None,
        (Role::Testkit, _) => Some("testkit depends on core only"),
        (Role::Facade, Role::Core | Role::Adapter) => None,
        (Role::Facade, Role::Facade | Role::Testkit) if edge.dev => None,
        (Role::Facade, _) => Some("the facade depends on core and adapters"),
        (Role::User, Role::Tool) | (Role::Tool, Role::Tool) => Some("it is a program"),
        (Role::Tool, Role::Facade) => Some("only examples, tests and benches use the facade"),
        (Role::User | Role::Tool, _) => None,
    }
}

fn role(of: &Crate) -> Option<Role> {
    match of.name.as_str() {
        "iobox-core" => Some(Role::Core),
        "iobox-testkit" => Some(Role::Testkit),
        "iobox" => Some(Role::Facade),
        "xtask" => Some(Role::Tool),
        name if STORES.contains(&name) || PUBLISHERS.contains(&name) => Some(Role::Adapter),
        _ => {
            let outside = ["examples", "tests", "benches"];
            outside
                .iter()
                .any(|folder| of.manifest.starts_with(folder))
                .then_some(Role::User)
        }
    }
}

/// Reads the crates of the workspace and their edges to each other.
fn read(metadata: &Value, root: &Path) -> Result<Vec<Crate>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo's metadata has no packages")?;
    packages
        .iter()
        .map(|package| read_crate(package, root))
        .collect()
}

fn read_crate(package: &Value, root: &Path) -> Result<Crate> {
    let name = package["name"]
        .as_str()
        .context("a package has no name")?
        .to_owned();
    let manifest = package["manifest_path"]
        .as_str()
        .context("a package has no manifest")?;
    let manifest = Path::new(manifest);
    let manifest = manifest.strip_prefix(root).unwrap_or(manifest).to_owned();
    let dependencies = package["dependencies"]
        .as_array()
        .context("no list of dependencies")?;
    // Only crates of ours have a path.
    let ours = dependencies
        .iter()
        .filter(|dependency| dependency["path"].is_string());
    let edge = |dependency: &Value| {
        Some(Edge {
            to: dependency["name"].as_str()?.to_owned(),
            dev: dependency["kind"] == "dev",
            versioned: dependency["req"] != "*",
        })
    };
    Ok(Crate {
        name,
        manifest,
        edges: ours.filter_map(edge).collect(),
    })
}

/// Whether a line of a manifest is about a key: `key = …`, `key.workspace = …`.
fn names(line: &str, key: &str) -> bool {
    line.strip_prefix(key)
        .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tidy::tree::made::findings;

    /// Judges one edge among the crates of this repository.
    fn judged(from: &str, to: &str, kind: Option<&str>, req: &str) -> Vec<String> {
        let folders = [
            ("iobox", ""),
            ("iobox-core", "iobox-core/"),
            ("iobox-nats", "iobox-nats/"),
            ("iobox-postgres", "iobox-postgres/"),
            ("iobox-sqlite", "iobox-sqlite/"),
            ("iobox-testkit", "iobox-testkit/"),
            ("iobox-sim", "tests/sim/"),
            ("iobox-bench", "benches/"),
            ("xtask", "xtask/"),
        ];
        let packages: Vec<Value> = folders
            .iter()
            .map(|(name, folder)| {
                let edge = json!({"name": to, "kind": kind, "req": req, "path": "/r/somewhere"});
                let foreign = json!({"name": "tokio", "kind": null, "req": "^1", "path": null});
                let edges = if *name == from {
                    json!([foreign, edge])
                } else {
                    json!([foreign])
                };
                let manifest = format!("/r/{folder}Cargo.toml");
                json!({"name": name, "manifest_path": manifest, "dependencies": edges})
            })
            .collect();
        let crates = read(&json!({"packages": packages}), Path::new("/r")).expect("metadata");
        judge(&crates)
            .into_iter()
            .map(|(_, _, message)| message)
            .collect()
    }

    #[test]
    fn edges_of_the_design_are_fine() {
        for (from, to, kind, req) in [
            ("iobox-nats", "iobox-core", None, "^0.1.0"),
            ("iobox-nats", "iobox-testkit", Some("dev"), "*"),
            ("iobox-postgres", "iobox-core", None, "^0.1.0"),
            ("iobox-postgres", "iobox-testkit", Some("dev"), "*"),
            ("iobox-testkit", "iobox-core", None, "^0.1.0"),
            ("iobox", "iobox-core", None, "^0.1.0"),
            ("iobox", "iobox-sqlite", None, "^0.1.0"),
            ("iobox", "iobox", Some("dev"), "^0.1.0"),
            ("iobox-bench", "iobox", None, "^0.1.0"),
            ("iobox-sim", "iobox-core", None, "^0.1.0"),
            ("xtask", "iobox-testkit", None, "^0.1.0"),
        ] {
            assert_eq!(judged(from, to, kind, req), [""; 0], "{from} -> {to}");
        }
    }

    #[test]
    fn edges_against_the_design_are_found() {
        for (from, to, kind, req) in [
            ("iobox-core", "iobox-testkit", Some("dev"), "*"),
            ("iobox-core", "iobox", None, "^0.1.0"),
            ("iobox-nats", "iobox-sqlite", None, "^0.1.0"),
            ("iobox-postgres", "iobox-sqlite", None, "^0.1.0"),
            ("iobox-postgres", "iobox", Some("dev"), "*"),
            ("iobox-postgres", "iobox-testkit", None, "*"),
            ("iobox-postgres", "iobox-testkit", Some("dev"), "^0.1.0"),
            ("iobox-testkit", "iobox-postgres", Some("dev"), "*"),
            ("iobox", "iobox-testkit", None, "^0.1.0"),
            ("xtask", "iobox", None, "^0.1.0"),
        ] {
            let found = judged(from, to, kind, req);
            assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
            assert!(found[0].starts_with(&format!("{from} must not depend on {to}: ")));
        }
    }

    #[test]
    fn cargo_is_asked_and_the_line_is_told() {
        let workspace =
            "[workspace]\nresolver = \"3\"\nmembers = [\"iobox-core\", \"iobox-odd\"]\n";
        let core = "[package]\nname = \"iobox-core\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
            [dependencies]\niobox-odd = { path = \"../iobox-odd\" }\n";
        let odd = "[package]\nname = \"iobox-odd\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        let lib = "//! A crate.\n";
        let files = [
            ("Cargo.toml", workspace),
            ("iobox-core/Cargo.toml", core),
            ("iobox-core/src/lib.rs", lib),
            ("iobox-odd/Cargo.toml", odd),
            ("iobox-odd/src/lib.rs", lib),
        ];
        let found = findings(check, &files);
        assert_eq!(
            found,
            ["iobox-odd/Cargo.toml:2: give iobox-odd a role in xtask/src/tidy/edges.rs"]
        );
        let core = core.replace("iobox-odd", "iobox-sqlite");
        let odd = odd.replace("iobox-odd", "iobox-sqlite");
        let workspace = workspace.replace("iobox-odd", "iobox-sqlite");
        let files = [
            ("Cargo.toml", &*workspace),
            ("iobox-core/Cargo.toml", &*core),
            ("iobox-core/src/lib.rs", lib),
            ("iobox-sqlite/Cargo.toml", &*odd),
            ("iobox-sqlite/src/lib.rs", lib),
        ];
        let found = findings(check, &files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("iobox-core/Cargo.toml:6: iobox-core must not depend on"));
    }
}
