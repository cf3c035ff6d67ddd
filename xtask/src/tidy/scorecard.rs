//! The scorecard is what the table and the committed figures make, and its tests are there.

use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;
use crate::scorecard::{Figures, GUARANTEES, PAGE, render};

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let page = Path::new(PAGE);
    if !tree.has(page) {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    for (file, test) in GUARANTEES.iter().flat_map(|guarantee| guarantee.tests) {
        let file = Path::new(file);
        let head = format!("fn {test}");
        let is_it = |line: &str| {
            let rest = line.split_once(&head).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with(['(', '<']))
        };
        if !tree.has(file) || !tree.text(file)?.lines().any(is_it) {
            let message = format!(
                "{} has no `{test}`: name the test that would falsify it in xtask/src/scorecard/table.rs",
                file.display()
            );
            findings.push(Finding::new(page, 1, message));
        }
    }
    if tree.text(page)? != render(&Figures::read(tree.root())?) {
        let message =
            "not what the table and docs/figures make: run `cargo xtask scorecard --page-only`";
        findings.push(Finding::new(page, 1, message));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    /// A repository that has every test of the table.
    fn files(page: &str) -> Vec<(String, String)> {
        let mut files = vec![(PAGE.to_owned(), page.to_owned())];
        for (file, test) in GUARANTEES.iter().flat_map(|guarantee| guarantee.tests) {
            let body = format!("async fn {test}() {{}}\n");
            match files.iter_mut().find(|(path, _)| path == file) {
                Some((_, text)) => text.push_str(&body),
                None => files.push(((*file).to_owned(), body)),
            }
        }
        files
    }

    fn found(files: &[(String, String)]) -> Vec<String> {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        findings(check, &files)
    }

    #[test]
    fn a_page_that_was_just_written_is_fine() {
        assert_eq!(found(&files(&render(&Figures::default()))), [""; 0]);
    }

    #[test]
    fn a_page_of_yesterday_is_found() {
        let found = found(&files("# Guarantees\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("cargo xtask scorecard"), "{found:?}");
    }

    #[test]
    fn a_test_that_is_gone_is_found() {
        let mut files = files(&render(&Figures::default()));
        let (_, text) = files.last_mut().expect("files");
        *text = text.replace("fn ", "fn no_longer_");
        assert!(!found(&files).is_empty());
    }

    #[test]
    fn a_repository_without_the_page_is_fine() {
        assert_eq!(found(&[]), [""; 0]);
    }
}
