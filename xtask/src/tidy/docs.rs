//! Every Rust file opens with a sentence that says what it holds.

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in tree.with_extension("rs") {
        if let Err(message) = opening(&tree.text(path)?) {
            findings.push(Finding::new(path, 1, message));
        }
    }
    Ok(findings)
}

fn opening(text: &str) -> Result<(), &'static str> {
    let doc_lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = doc_lines
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let sentence = paragraph.join(" ");
    if sentence.is_empty() {
        Err("open the file with a `//!` sentence that says what it holds")
    } else if !sentence.contains(' ') || !sentence.ends_with(['.', '!', '?', ':']) {
        Err("make the first `//!` paragraph a sentence, with punctuation at its end")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    #[test]
    fn a_file_without_an_opening_sentence_is_found() {
        let files = [
            ("a.rs", "fn main() {}\n"),
            ("b.rs", "// A comment is not a doc.\nfn main() {}\n"),
            ("c.rs", "//! No full stop\n\nfn main() {}\n"),
            ("d.rs", "//! x\n"),
            ("e.rs", "\n//! Too late.\n"),
        ];
        let found = findings(check, &files);
        assert_eq!(found.len(), files.len(), "{found:?}");
        assert_eq!(
            found[0],
            "a.rs:1: open the file with a `//!` sentence that says what it holds"
        );
        assert!(found[2].contains("punctuation"));
    }

    #[test]
    fn a_sentence_may_span_lines() {
        let files = [
            ("a.rs", "//! One line.\nfn main() {}\n"),
            (
                "b.rs",
                "//! A sentence that goes\n//! on.\n//!\n//! # More\n",
            ),
        ];
        assert_eq!(findings(check, &files), [""; 0]);
    }
}
