//! Words that must not occur, and blanks at the ends of lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// A word that Rust files must not hold, and what to do instead.
///
/// The words are put together so that this file does not hold them either.
const RUST_WORDS: [(&str, &str); 5] = [
    (
        concat!("#[", "ignore"),
        "make the test pass, or remove it: a test that never runs proves nothing",
    ),
    (concat!("todo", "!("), "write what is missing"),
    (concat!("unimplemented", "!("), "write what is missing"),
    (concat!("unbounded_", "channel"), "give the channel a bound"),
    (
        concat!("FIX", "ME"),
        "mend it, or say in a sentence what is so and why",
    ),
];

/// Marks SQL that the compiler cannot vouch for; one file of a crate's `src` may say so. Tests and
/// examples are crates of their own, and write what they like.
const UNCHECKED_SQL: &str = concat!("AssertSql", "Safe");

/// The files whose lines are looked at for blanks at their ends.
const TEXT_EXTENSIONS: [&str; 8] = ["rs", "md", "toml", "sql", "sh", "yml", "yaml", "json"];

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut unchecked_sql: BTreeMap<PathBuf, Vec<Finding>> = BTreeMap::new();
    for path in tree.files().filter(|path| is_text(path)) {
        let text = tree.text(path)?;
        findings.extend(trailing_blanks(path, &text));
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        findings.extend(forbidden(path, &text));
        let in_src = path.components().any(|part| part.as_os_str() == "src");
        if in_src && let Some(line) = line_of_code(&text, UNCHECKED_SQL) {
            let message = format!(
                "keep {UNCHECKED_SQL} in one file of the crate, so that all such SQL is seen together"
            );
            let finding = Finding::new(path, line, message);
            unchecked_sql
                .entry(crate_of(tree, path))
                .or_default()
                .push(finding);
        }
    }
    let several = unchecked_sql.into_values().filter(|files| files.len() > 1);
    findings.extend(several.flatten());
    Ok(findings)
}

fn forbidden(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, advice) in RUST_WORDS {
            if line.contains(word) {
                findings.push(Finding::new(path, number, format!("`{word}`: {advice}")));
            }
        }
    }
    findings
}

fn trailing_blanks(path: &Path, text: &str) -> Vec<Finding> {
    // Not `lines`, which takes the carriage return away.
    let lines = (1..).zip(text.split('\n'));
    lines
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(number, _)| Finding::new(path, number, "remove the blanks at the end of the line"))
        .collect()
}

/// The first line that holds `word` and is not a comment.
fn line_of_code(text: &str, word: &str) -> Option<usize> {
    let mut lines = (1..).zip(text.lines());
    let found = lines.find(|(_, line)| line.contains(word) && !line.trim().starts_with("//"));
    found.map(|(number, _)| number)
}

fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => TEXT_EXTENSIONS.iter().any(|known| extension == *known),
        None => path.starts_with(".ci"),
    }
}

/// The folder of the crate that a file belongs to: the nearest with a manifest.
fn crate_of(tree: &Tree, path: &Path) -> PathBuf {
    let folders = path.ancestors().skip(1);
    let mut own = folders.filter(|folder| tree.has(folder.join("Cargo.toml")));
    own.next().unwrap_or(Path::new("")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    #[test]
    fn each_word_is_found_with_its_line() {
        for (word, advice) in RUST_WORDS {
            let text = format!("//! A file.\n{word}\n");
            let found = findings(check, &[("a/src/b.rs", &text), ("c.md", &text)]);
            assert_eq!(found, [format!("a/src/b.rs:2: `{word}`: {advice}")]);
        }
    }

    #[test]
    fn blanks_at_the_end_of_a_line_are_found() {
        let files = [
            ("a.rs", "x \n"),
            ("b.md", "y\n\nz\t\n"),
            (".ci/run", "w\r\n"),
            ("c.png", " \n"),
        ];
        let found = findings(check, &files);
        let places: Vec<&str> = found
            .iter()
            .map(|text| text.split(": ").next().unwrap_or(""))
            .collect();
        assert_eq!(places, [".ci/run:1", "a.rs:1", "b.md:3"]);
    }

    #[test]
    fn unchecked_sql_stays_in_one_file_of_a_crate() {
        let sql = format!("{UNCHECKED_SQL}(text)\n");
        let comment = format!("/// [`{UNCHECKED_SQL}`]\n");
        let files = [
            ("a/Cargo.toml", ""),
            ("a/src/sql.rs", &*sql),
            ("a/src/row.rs", &*comment),
            ("b/Cargo.toml", ""),
            ("b/src/sql.rs", &*sql),
        ];
        assert_eq!(findings(check, &files), [""; 0]);
        let mut more = files.to_vec();
        more.push(("b/tests/x.rs", &*sql));
        let found = findings(check, &more);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("b/src/sql.rs:1: ") && found[1].starts_with("b/tests/x.rs:1: ")
        );
    }
}
