//! The metrics that programs write and those that the page for operations lists are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// The page that lists them.
const PAGE: &str = "docs/operations.md";
/// What the name of each begins with.
const PREFIX: &str = "iobox_";

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let page = Path::new(PAGE);
    if !tree.has(page) {
        return Ok(Vec::new());
    }
    let mut written = BTreeMap::<String, (PathBuf, usize)>::new();
    for path in tree.with_extension("rs") {
        let is_ours = |part: &str| part == "iobox-core" || part.starts_with("iobox-");
        let mut parts = path.iter().filter_map(|part| part.to_str());
        if !parts.next().is_some_and(is_ours) || parts.next() != Some("src") {
            continue;
        }
        for (number, line) in (1..).zip(tree.text(path)?.lines()) {
            // A metric is named where it is written, or handed to what writes it, as a text of its own.
            for name in quoted(line, '"') {
                written
                    .entry(name.to_owned())
                    .or_insert_with(|| (path.to_owned(), number));
            }
        }
    }
    let text = tree.text(page)?;
    let mut findings = Vec::new();
    let mut listed = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for name in quoted(line, '`') {
            if !written.contains_key(name) {
                let message = format!("no program writes a metric `{name}`: take it away");
                findings.push(Finding::new(page, number, message));
            }
            listed.push(name);
        }
    }
    for (name, (path, number)) in &written {
        if !listed.contains(&name.as_str()) {
            let message = format!("{PAGE} does not list the metric `{name}`: say what it counts");
            findings.push(Finding::new(path, *number, message));
        }
    }
    Ok(findings)
}

/// The names of metrics between two such quotes in a line.
fn quoted(line: &str, quote: char) -> impl Iterator<Item = &str> {
    let parts = line.split(quote).skip(1).step_by(2);
    parts
        .map(|part| part.split_once('{').map_or(part, |(name, _)| name))
        .filter(|name| {
            let rest = name.strip_prefix(PREFIX);
            rest.is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    #[test]
    fn what_is_written_and_what_is_listed_are_the_same() {
        let code = "//! X.\nfn f() { counter!(\"iobox_a_total\"); self.count(\"iobox_b\", 1); }\n";
        let found = |page| findings(check, &[("iobox-core/src/a.rs", code), (PAGE, page)]);
        assert_eq!(found("`iobox_a_total{x=\"y\"}`, `iobox_b`\n"), [""; 0]);
        let said = found("`iobox_a_total`\n`iobox_c`\n");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("docs/operations.md:2: no program writes a metric `iobox_c`"));
        assert!(said[1].starts_with("iobox-core/src/a.rs:2: docs/operations.md does not list"));
    }
}
