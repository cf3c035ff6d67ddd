//! Texts of positions.

use super::{
    Entry,
    entry::{bad, controls, plain},
};

const TAKEN: &[&str] = &[
    "0",
    "-1",
    " ",
    "1700000000000-0",
    "18446744073709551616",
    "{\"a\":\"1-0\"}",
    "{",
    "null",
    "'; drop table source; --",
    "é 日本 🦀",
    "\u{202e}",
    "a\u{2028}b",
    "%00",
    "\\0",
];

/// Texts for a position: 1 to 8,192 bytes without control characters. To the source that wrote it a
/// position may still be nonsense, which it must refuse when it is opened, without a panic.
#[must_use]
pub fn positions() -> Vec<Entry> {
    let mut entries: Vec<Entry> = TAKEN.iter().map(|text| plain(text)).collect();
    entries.extend([
        Entry::taken("the longest", "1".repeat(8_192)),
        bad("", "has 0 bytes"),
        Entry::refused("one byte too long", "1".repeat(8_193), "has 8193 bytes"),
        Entry::refused("a deep array", "[".repeat(100_000), "has 100000 bytes"),
    ]);
    let ascii = controls().filter(char::is_ascii);
    entries.extend(ascii.map(|c| bad(&format!("s3cr3t{c}"), "control character at byte 6")));
    entries
}
