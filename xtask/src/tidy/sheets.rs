//! The table of the guarantee sheets is that of the sheets, and the sheets are of the suites as they are.

use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;
use crate::sheet::{PAGE, SHEETS, kept, with_table};

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let page = Path::new(PAGE);
    if !tree.has(page) {
        return Ok(Vec::new());
    }
    let sheets = kept(tree.root())?;
    let mut findings = Vec::new();
    for sheet in &sheets {
        let path = Path::new(SHEETS).join(sheet.file_name());
        for missing in sheet.missing() {
            let message = format!("the case {missing} is missing; run `cargo xtask sheet`");
            findings.push(Finding::new(&path, 1, message));
        }
        for failed in sheet.failed() {
            findings.push(Finding::new(&path, 1, format!("the case {failed} failed")));
        }
        if sheet.cases.len() > sheet.suite.cases().len() {
            let message = "it has cases that are no more; run `cargo xtask sheet`";
            findings.push(Finding::new(&path, 1, message));
        }
    }
    let text = tree.text(page)?;
    if with_table(&text, &sheets)? != text {
        let message = "the table is not that of the sheets; run `cargo xtask sheet --table`";
        findings.push(Finding::new(page, 1, message));
    }
    Ok(findings)
}
