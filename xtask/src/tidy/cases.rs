//! The cases that a page promises are there: each name in its tables is a test, or a case of a suite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// The page whose tables name cases in their last column.
const PAGE: &str = "docs/go_iobox_behaviours.md";

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let page = Path::new(PAGE);
    if !tree.has(page) {
        return Ok(Vec::new());
    }
    let functions = functions(tree)?;
    let mut findings = Vec::new();
    for (line, cell) in last_cells(&tree.text(page)?) {
        let names = names(cell);
        if names.is_empty() {
            let message = "no case is named in the last column: name the one that shows it";
            findings.push(Finding::new(page, line, message));
        }
        for name in names {
            if !is_there(&functions, name) {
                let message = format!(
                    "`{name}` is no function of such a file: name a case as `file::case` or `case`"
                );
                findings.push(Finding::new(page, line, message));
            }
        }
    }
    Ok(findings)
}

/// The functions of all sources, with the names of the files and folders that they are in.
fn functions(tree: &Tree) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut functions = BTreeMap::<String, BTreeSet<String>>::new();
    for path in tree.with_extension("rs") {
        let places: Vec<String> = path
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        for line in tree.text(path)?.lines() {
            let Some((_, after)) = line.split_once("fn ") else {
                continue;
            };
            let name = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if let Some(name) = name.into_iter().next().filter(|name| !name.is_empty()) {
                let known = functions.entry(name.to_owned()).or_default();
                known.extend(places.iter().rev().take(2).cloned());
            }
        }
    }
    Ok(functions)
}

fn is_there(functions: &BTreeMap<String, BTreeSet<String>>, name: &str) -> bool {
    match name.split_once("::") {
        None => functions.contains_key(name),
        Some((place, case)) => functions
            .get(case)
            .is_some_and(|places| places.contains(place)),
    }
}

/// The last cells of the rows of tables, without heads and rules, with their lines counted from 1.
fn last_cells(text: &str) -> Vec<(usize, &str)> {
    let mut cells = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        let is_rule = |line: &str| line.starts_with("|--");
        let is_head = lines.peek().is_some_and(|(_, next)| is_rule(next));
        if !line.starts_with('|') || is_rule(line) || is_head {
            continue;
        }
        let row = line.trim_end().trim_end_matches('|');
        cells.push((number, row.rsplit('|').next().unwrap_or_default()));
    }
    cells
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    fn found(rows: &str) -> Vec<String> {
        let page = format!("# Page\n\n| a `x` | held by |\n|---|---|\n{rows}\n");
        let files = [
            (PAGE, page.as_str()),
            (
                "kit/src/fetch.rs",
                "//! A.\npub async fn a_limit_holds<H>() {}\n",
            ),
            ("tests/drain/main.rs", "//! B.\nfn it_ends() {}\n"),
        ];
        findings(check, &files)
    }

    #[test]
    fn cases_that_are_there_are_fine() {
        let rows = "| one | `fetch::a_limit_holds`, `drain::it_ends` |\n| two | text, `it_ends` |";
        assert_eq!(found(rows), [""; 0]);
    }

    #[test]
    fn a_case_that_is_not_there_is_found() {
        for cell in [
            "`a_limit`",
            "`drain::a_limit_holds`",
            "`fetch::it_ends`",
            "`it_ends`, `fetch::a_limit_hold`",
            "nothing",
        ] {
            let found = found(&format!("| `it_ends` | `it_ends` |\n| what | {cell} |"));
            assert_eq!(found.len(), 1, "{cell}: {found:?}");
            assert!(
                found[0].starts_with("docs/go_iobox_behaviours.md:6: "),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_repository_without_the_page_is_fine() {
        assert_eq!(findings(check, &[("src/lib.rs", "//! A.\n")]), [""; 0]);
    }
}
