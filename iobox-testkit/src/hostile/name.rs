//! Names of sources and handlers.

use super::{
    Entry,
    entry::{bad, plain},
};

const TAKEN: &[&str] = &[
    "a",
    "A",
    "0",
    "-",
    "_",
    ".",
    "/",
    "..",
    "../..",
    "a/b.c-d_e",
    "inbox/a",
    "ingest/a",
    "outbox",
    "-rf",
    "null",
    "drop",
];

const REFUSED: &[&str] = &[
    " ",
    "a b",
    "s3cr3t b",
    "a\n",
    "a\r\nb",
    "a\0",
    "\u{1b}[0m",
    "\u{85}",
    "é",
    "日本",
    "🦀",
    "ａ",
    "\u{202e}a",
    "a\u{200b}",
    "'",
    "\"",
    "`",
    ";",
    "';drop table source;--",
    "\\",
    "a:b",
    "a,b",
    "a*",
    ">",
    "$a",
    "%00",
    "{p}",
    "a@b",
    "a=b",
    "a?b",
    "a#b",
    "(a)",
    "<b>",
    "a|b",
    "a&b",
    "a+b",
    "~",
];

/// Texts for the name of a source or a handler: 1 to 100 of `A-Z a-z 0-9 - _ . /`.
#[must_use]
pub fn names() -> Vec<Entry> {
    let mut entries: Vec<Entry> = TAKEN.iter().map(|text| plain(text)).collect();
    entries.extend(REFUSED.iter().map(|text| bad(text, "character at byte")));
    entries.extend([
        Entry::taken("the longest", "x".repeat(100)),
        bad("", "has 0 bytes"),
        Entry::refused("one byte too long", "x".repeat(101), "has 101 bytes"),
        Entry::refused("a mebibyte", "s3cr3t".repeat(174_763), "needs 1 to 100"),
    ]);
    entries
}
