//! The same rooms in every adapter, and the pages that every repository has.

use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// The adapters that are stores: who knows one knows all.
pub(crate) const STORES: [&str; 2] = ["iobox-postgres", "iobox-sqlite"];

/// What a store has in its `src`, as a file or as a folder.
const STORE_ROOMS: [&str; 7] = ["config", "store", "sql", "row", "wake", "migrate", "error"];

/// The adapters that are brokers.
pub(crate) const BROKERS: [&str; 1] = ["iobox-nats"];

/// What a broker has in its `src`, as a file or as a folder.
const BROKER_ROOMS: [&str; 5] = ["config", "publisher", "wire", "probe", "error"];

/// What the root has.
const PAGES: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Each adapter, what it is, and the rooms of its kind.
fn adapters() -> impl Iterator<Item = (&'static str, &'static str, &'static [&'static str])> {
    let stores = STORES.map(|name| (name, "store", &STORE_ROOMS[..]));
    let brokers = BROKERS.map(|name| (name, "broker", &BROKER_ROOMS[..]));
    stores.into_iter().chain(brokers)
}

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (adapter, kind, rooms) in adapters() {
        let adapter = Path::new(adapter);
        for room in rooms {
            let file = adapter.join("src").join(room).with_extension("rs");
            if !tree.has(&file) && !tree.has(adapter.join("src").join(room).join("mod.rs")) {
                let message =
                    format!("every {kind} has this room: add it, as a file or as a folder");
                findings.push(Finding::new(&file, 1, message));
            }
        }
        let suite = adapter.join("tests/conformance.rs");
        if !tree.has(&suite) && !tree.has(adapter.join("tests/conformance/main.rs")) {
            findings.push(Finding::new(
                &suite,
                1,
                "run testkit's conformance suites here",
            ));
        }
    }
    for page in PAGES.map(Path::new) {
        if !tree.has(page) {
            findings.push(Finding::new(page, 1, "write this page"));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    fn complete() -> Vec<String> {
        let rooms = adapters().flat_map(|(adapter, _, rooms)| {
            rooms
                .iter()
                .map(move |room| format!("{adapter}/src/{room}.rs"))
        });
        let suites = adapters().map(|(adapter, ..)| format!("{adapter}/tests/conformance.rs"));
        rooms
            .chain(suites)
            .chain(PAGES.map(str::to_owned))
            .collect()
    }

    fn found(paths: &[String]) -> Vec<String> {
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        findings(check, &files)
    }

    #[test]
    fn each_missing_piece_is_found() {
        let complete = complete();
        assert_eq!(found(&complete), [""; 0]);
        for (position, missing) in complete.iter().enumerate() {
            let mut rest = complete.clone();
            rest.remove(position);
            let found = found(&rest);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&format!("{missing}:1: ")), "{found:?}");
        }
    }

    #[test]
    fn a_room_may_be_a_folder() {
        let mut paths = complete();
        paths.retain(|path| path != "iobox-postgres/src/sql.rs");
        paths.push("iobox-postgres/src/sql/mod.rs".to_owned());
        assert_eq!(found(&paths), [""; 0]);
    }
}
