//! Texts of topics.

use super::{
    Entry,
    entry::{bad, controls, plain},
};

const TAKEN: &[&str] = &[
    "a",
    "0",
    "-",
    "orders.created",
    "Orders.Created",
    "ORDERS.created",
    "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
    "a/b",
    "a:b",
    "a{b}c",
    "{tag}.x",
    "a_b",
    "a-b",
    "a=2Eb",
    "a%2eb",
    "%",
    "%00",
    "a$b",
    "a.$SYS",
    "a.$JS.API",
    "_INBOXX",
    "_INBO",
    "_inbox.a",
    "a._INBOX",
    "JS.API",
    "'",
    "\"",
    "`",
    ";",
    "';drop//table//message;--",
    "\\",
    "\\n",
    "a\\.b",
    "|id",
    "<b",
    "(a)",
    "[a]",
    "a,b",
    "a;b",
    "a?b",
    "a#b",
    "a@b",
    "a!b",
    "a~b",
    "a^b",
    "a&b",
    "a+b",
    "null",
    "iobox",
    "PUB",
    "+OK",
    "__proto__",
];

/// Texts that are refused, and the rule that they break.
const REFUSED: &[(&str, &str)] = &[
    ("", "is empty"),
    (".", "empty token"),
    ("..", "empty token"),
    (".a", "empty token"),
    ("a.", "empty token"),
    ("a..b", "empty token"),
    ("a...b", "empty token"),
    ("*", "wildcards"),
    (">", "wildcards"),
    ("a.*", "wildcards"),
    ("a.>", "wildcards"),
    ("a*b", "wildcards"),
    ("a>b", "wildcards"),
    ("*.s3cr3t", "wildcards"),
    ("s3cr3t b", "at byte 6"),
    (" a", "at byte 0"),
    ("a ", "at byte 1"),
    ("a\u{a0}b", "printable ASCII"),
    ("é", "printable ASCII"),
    ("e\u{301}", "printable ASCII"),
    ("а.б", "printable ASCII"),
    ("日本", "printable ASCII"),
    ("🦀", "printable ASCII"),
    ("a\u{202e}b", "printable ASCII"),
    ("a\u{200b}b", "printable ASCII"),
    ("\u{feff}a", "printable ASCII"),
    ("a\u{2028}b", "printable ASCII"),
    ("ａ", "printable ASCII"),
    ("a．b", "printable ASCII"),
    ("a\u{2024}b", "printable ASCII"),
    ("\u{10ffff}", "printable ASCII"),
    ("$SYS", "brokers keep"),
    ("$SYS.s3cr3t", "brokers keep"),
    ("$JS.API.STREAM.PURGE.ORDERS", "brokers keep"),
    ("$KV.bucket.key", "brokers keep"),
    ("$O.bucket", "brokers keep"),
    ("$", "brokers keep"),
    ("$probe", "brokers keep"),
    ("${x}", "brokers keep"),
    ("_INBOX", "brokers keep"),
    ("_INBOX.s3cr3t", "brokers keep"),
    ("a\r\nPUB x 0", "control character at byte 1"),
    ("a\tb", "control character at byte 1"),
    ("s3cr3t\0", "control character at byte 6"),
    ("\u{1b}[2J", "control character at byte 0"),
    ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", "17 tokens"),
];

/// Texts for a topic.
///
/// Taken are 1 to 255 bytes of printable ASCII in 1 to 16 tokens, none of them empty, without blanks
/// and wildcards, and not in the part of the subjects that brokers keep for themselves.
#[must_use]
pub fn topics() -> Vec<Entry> {
    let mut entries: Vec<Entry> = TAKEN.iter().map(|text| plain(text)).collect();
    entries.extend(REFUSED.iter().map(|(text, says)| bad(text, says)));
    entries.extend([
        Entry::taken("the longest", "x".repeat(255)),
        Entry::taken(
            "the longest in the most tokens",
            vec!["x".repeat(15); 16].join("."),
        ),
        Entry::refused("one byte too long", "x".repeat(256), "has 256 bytes"),
        Entry::refused(
            "two thousand characters",
            "s3cr3t".repeat(334),
            "has 2004 bytes",
        ),
        Entry::refused("dots alone", ".".repeat(255), "empty token"),
    ]);
    entries.extend(controls().map(|c| bad(&format!("a.{c}"), "control character at byte 2")));
    entries
}
