//! Relative links in Markdown lead to files and headings that exist.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in tree.with_extension("md") {
        for (line, target) in links(&tree.text(path)?) {
            if let Some(message) = broken(tree, path, &target)? {
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    Ok(findings)
}

/// Says what is wrong with a link, if anything is.
fn broken(tree: &Tree, from: &Path, target: &str) -> Result<Option<String>> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if file.contains("://") || file.starts_with("mailto:") {
        return Ok(None);
    }
    let folder = from.parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() {
        Some(from.to_owned())
    } else {
        within(&folder.join(file))
    };
    let Some(path) = path.filter(|path| tree.root().join(path).exists()) else {
        return Ok(Some(format!(
            "`{target}` leads nowhere: mend the link, relative to this file"
        )));
    };
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    if anchor.is_empty() || !is_page || has_anchor(&tree.text(&path)?, anchor) {
        return Ok(None);
    }
    Ok(Some(format!(
        "`{target}`: no heading of {} has this anchor",
        path.display()
    )))
}

/// Resolves `..` and `.`; nothing if the path leaves the repository.
fn within(path: &Path) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

/// The targets of `[text](target)` and `[text]: target` with their lines, outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let target = inline_target(after);
            rest = &after[target.len()..];
            links.push((number, target));
        }
        if let Some(definition) = line.strip_prefix('[')
            && let Some((_, target)) = definition.split_once("]: ")
        {
            links.push((number, target.to_owned()));
        }
    }
    let clean = |target: &str| {
        let target = target.split_whitespace().next().unwrap_or("");
        target
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_owned()
    };
    links
        .iter()
        .map(|(number, target)| (*number, clean(target)))
        .collect()
}

/// The text up to the bracket that closes the link; brackets inside it come in pairs.
fn inline_target(after: &str) -> String {
    let mut depth = 0;
    let is_inside = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth >= 0
    };
    after.chars().take_while(is_inside).collect()
}

/// The lines outside of fenced code, counted from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let line = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| line.starts_with(mark));
        match (fence, mark) {
            (None, None) => return true,
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        false
    })
}

/// Removes `code` from a line.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks: String = rest[start..].chars().take_while(|c| *c == '`').collect();
        let code = &rest[start + ticks.len()..];
        let Some(end) = code.find(&ticks) else { break };
        kept.push_str(&rest[..start]);
        rest = &code[end + ticks.len()..];
    }
    kept + rest
}

/// Whether a page has a heading, or an element with an id, that `#anchor` leads to.
fn has_anchor(text: &str, anchor: &str) -> bool {
    let mut slugs: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if (1..=6).contains(&(line.len() - heading.len())) && heading.starts_with(' ') {
            let slug = slug(heading.trim());
            let same = slugs.iter().filter(|other| **other == slug).count();
            if anchor == slug && same == 0 || anchor == format!("{slug}-{same}") && same > 0 {
                return true;
            }
            slugs.push(slug);
        }
    }
    text.contains(&format!("id=\"{anchor}\""))
}

/// The anchor that code hosts make of a heading.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // The text of a link counts, its target does not.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.get(inline_target(after).len()..).unwrap_or("");
    }
    text.push_str(rest);
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::made::findings;

    fn found(text: &str) -> Vec<String> {
        let other = "# The `Store` trait, in short\n\n## Again\n\n## Again\n\n```\n# code\n```\n";
        let files = [
            ("docs/a.md", text),
            ("docs/b.md", other),
            ("src/lib.rs", "//! A file.\n"),
        ];
        findings(check, &files)
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "# Top\n[b](b.md) [dir](../src) [up](../src/lib.rs#L1) ![x](b.md \"title\")\n\
            [h](b.md#the-store-trait-in-short) [second](b.md#again-1) [own](#top)\n\
            [web](https://example.org/a(b)) <https://example.org>\n[ref]: b.md#again\n";
        assert_eq!(found(text), [""; 0]);
    }

    #[test]
    fn each_kind_of_broken_link_is_found() {
        for link in [
            "[x](c.md)",
            "[x](../../outside.md)",
            "[x](/src/lib.rs)",
            "[x](b.md#nothing)",
            "[x](b.md#code)",
            "[x](b.md#again-2)",
            "[x](#nothing)",
            "[x]: c.md",
            "[fine](b.md) and [x](c.md)",
        ] {
            let found = found(&format!("# Top\n\n{link}\n"));
            assert_eq!(found.len(), 1, "{link}: {found:?}");
            assert!(found[0].starts_with("docs/a.md:3: `"), "{found:?}");
        }
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(
            found("```\n[x](c.md)\n```\n\n`[x](c.md)` and ``a ` [x](c.md)``\n"),
            [""; 0]
        );
    }
}
