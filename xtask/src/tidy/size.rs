//! Files have a size that a reader can hold in mind; maps are shorter still.

use std::path::Path;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

/// The most lines of code in any file.
const CODE_LINES_MAX: usize = 400;

/// The most lines of code in a `lib.rs` or `mod.rs`: docs, `mod` and `pub use`.
const MAP_LINES_MAX: usize = 120;

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in tree.with_extension("rs") {
        let (lines, last) = code_lines(&tree.text(path)?);
        let is_map = path.ends_with(Path::new("lib.rs")) || path.ends_with(Path::new("mod.rs"));
        let (max, advice) = if is_map {
            (
                MAP_LINES_MAX,
                "a map holds docs, `mod` and `pub use`; move the rest into rooms",
            )
        } else {
            (CODE_LINES_MAX, "split it into two rooms")
        };
        if lines > max {
            let message = format!("{lines} lines of code, at most {max}: {advice}");
            findings.push(Finding::new(path, last, message));
        }
    }
    Ok(findings)
}

/// Counts lines that are neither blank nor comments nor in a `mod tests`; and all lines.
fn code_lines(text: &str) -> (usize, usize) {
    let mut count = 0;
    let mut in_comment = false;
    let mut in_tests = false;
    let mut lines = text.lines().peekable();
    let mut last = 0;
    while let Some(line) = lines.next() {
        last += 1;
        let code = line.trim();
        if in_tests {
            in_tests = line != "}";
        } else if in_comment || code.starts_with("/*") {
            in_comment = !code.contains("*/");
        } else if is_test_cfg(line) && lines.peek().is_some_and(|next| opens_tests(next)) {
            in_tests = true;
        } else if !code.is_empty() && !code.starts_with("//") {
            count += 1;
        }
    }
    (count, last)
}

fn is_test_cfg(line: &str) -> bool {
    line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test,")
}

fn opens_tests(line: &str) -> bool {
    line.ends_with('{') && line.contains("mod tests")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    #[test]
    fn the_wall_is_at_the_last_line_that_fits() {
        let full = "let x = 1;\n".repeat(CODE_LINES_MAX);
        let over = format!("{full}let y = 2;\n");
        let found = findings(check, &[("a.rs", &full), ("b.rs", &over)]);
        assert_eq!(
            found,
            ["b.rs:401: 401 lines of code, at most 400: split it into two rooms"]
        );
    }

    #[test]
    fn maps_are_shorter() {
        let text = "pub mod x;\n".repeat(MAP_LINES_MAX + 1);
        let files = [
            ("a/src/lib.rs", &*text),
            ("a/src/b/mod.rs", &*text),
            ("c.rs", &*text),
        ];
        let found = findings(check, &files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a/src/b/mod.rs:121: 121 lines of code, at most 120"));
    }

    #[test]
    fn comments_blanks_and_tests_do_not_count() {
        let text = "//! Docs.\n\n/* a\n b */\nfn f() {\n    // why\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n";
        assert_eq!(code_lines(text), (2, 13));
        let after = format!("{text}fn h() {{}}\n");
        assert_eq!(code_lines(&after), (3, 14));
        assert_eq!(code_lines("#[cfg(test)]\nuse x;\n"), (2, 2));
    }
}
