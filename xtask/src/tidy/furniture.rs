//! The same rooms in every adapter, and the pages that every repository has.

use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// The adapters that are stores: who knows one knows all.
pub(crate) const STORES: [&str; 2] = ["iobox-postgres", "iobox-sqlite"];

/// What a store has in its `src`, as a file or as a folder.
const STORE_ROOMS: [&str; 7] = ["config", "store", "sql", "row", "wake", "migrate", "error"];

/// The adapters that are publishers.
pub(crate) const PUBLISHERS: [&str; 2] = ["iobox-nats", "iobox-redis"];

/// What a publisher has in its `src`, as a file or as a folder.
const PUBLISHER_ROOMS: [&str; 4] = ["config", "publisher", "wire", "error"];

/// Every adapter with its rooms.
fn adapters() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let stores = STORES.map(|store| (store, STORE_ROOMS.as_slice()));
    let publishers = PUBLISHERS.map(|publisher| (publisher, PUBLISHER_ROOMS.as_slice()));
    stores.into_iter().chain(publishers)
}

/// What the root has.
const PAGES: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (adapter, rooms) in adapters() {
        let adapter = Path::new(adapter);
        for room in rooms {
            let file = adapter.join("src").join(room).with_extension("rs");
            if !tree.has(&file) && !tree.has(adapter.join("src").join(room).join("mod.rs")) {
                let message = "every adapter of its kind has this room: add it, as a file or as a \
                               folder";
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
        let rooms = |(adapter, rooms): (&str, &[&str])| {
            let room = |room: &&str| format!("{adapter}/src/{room}.rs");
            rooms.iter().map(room).collect::<Vec<_>>()
        };
        let suites = adapters().map(|(adapter, _)| format!("{adapter}/tests/conformance.rs"));
        let pages = PAGES.map(str::to_owned);
        adapters()
            .flat_map(rooms)
            .chain(suites)
            .chain(pages)
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
