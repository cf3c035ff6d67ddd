//! Texts of topic patterns.

use super::{
    Entry,
    entry::{bad, controls, plain},
};

const TAKEN: &[&str] = &[
    ">",
    "*",
    "*.*",
    "*.>",
    "a",
    "a.b",
    "a.*",
    "a.>",
    "a.*.c",
    "*.b.*",
    "*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.>",
    "a{b}.*",
    "a$b.>",
    "%2a.*",
    "';--.*",
];

const REFUSED: &[(&str, &str)] = &[
    ("", "topic pattern"),
    (".", "topic pattern"),
    ("a.", "topic pattern"),
    (".a", "topic pattern"),
    ("a..b", "topic pattern"),
    ("*..*", "topic pattern"),
    ("**", "topic pattern"),
    ("a*", "topic pattern"),
    ("*a", "topic pattern"),
    ("a.b*", "topic pattern"),
    (">>", "topic pattern"),
    ("a>", "topic pattern"),
    (">a", "topic pattern"),
    ("*>", "topic pattern"),
    (">.a", "only be the last"),
    ("a.>.b", "only be the last"),
    (">.>", "only be the last"),
    ("a b", "topic pattern"),
    (" *", "topic pattern"),
    ("é.*", "topic pattern"),
    ("$SYS.>", "topic pattern"),
    ("$JS.API.>", "topic pattern"),
    ("_INBOX.>", "topic pattern"),
    ("a.\u{202e}", "topic pattern"),
    ("s3cr3t.a b", "topic pattern"),
    ("*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*", "topic pattern"),
];

/// Texts for a pattern of topics.
#[must_use]
pub fn patterns() -> Vec<Entry> {
    let mut entries: Vec<Entry> = TAKEN.iter().map(|text| plain(text)).collect();
    entries.extend(REFUSED.iter().map(|(text, says)| bad(text, says)));
    entries.extend([
        Entry::taken("the longest", "x".repeat(255)),
        Entry::refused("one byte too long", "x".repeat(256), "at most 255"),
        Entry::refused("wildcards without end", "*.".repeat(10_000), "at most 255"),
    ]);
    let plain_controls = controls().filter(char::is_ascii);
    entries.extend(plain_controls.map(|c| bad(&format!("*.{c}"), "topic pattern")));
    entries
}
