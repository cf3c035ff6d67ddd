//! Headers, as they are given and as they are stored.

use iobox_core::ErrorKind;

use super::{Entry, entry::controls};

type Pairs = Vec<(String, String)>;

fn pairs(given: &[(&str, &str)]) -> Pairs {
    let owned = given.iter();
    let owned = owned.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// `count` headers with this value.
fn many(count: usize, value: &str) -> Pairs {
    (0..count)
        .map(|n| (format!("h{n:02}"), value.to_owned()))
        .collect()
}

/// Values that are taken as they are.
const VALUES: &[&str] = &[
    "",
    " ",
    "  a",
    "a  ",
    "a: b",
    "a,b;c=\"d\"",
    "%0d%0a",
    "%",
    "\\r\\n",
    "\\",
    "\"",
    "'",
    "=?utf-8?q?no?=",
    "é",
    "日本 🦀",
    "\u{a0}",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}a",
    "\u{10ffff}",
    "{\"a\":[null]}",
    "[[\"a\",\"b\"]]",
    "null",
    "'; drop table message; --",
    "<b>",
    "${jndi:ldap://x}",
    "Nats-Rollup: all",
    "NATS/1.0",
    "text/html",
];

/// Names that are taken.
const NAMES: &[&str] = &[
    "a",
    "A-b",
    "0",
    "-",
    "~",
    "!#$%&'*+-.^_`|~",
    "content-type",
    "Host",
    "Content-Length",
    "x-nats-rollup",
    "nats",
    "Nats_Msg_Id",
    "iobox",
    "ioboxid",
    "status",
    "description",
    "__proto__",
];

/// Names that are refused, and why.
const BAD_NAMES: &[(&str, &str)] = &[
    ("", "has 0 bytes"),
    (" ", "character outside"),
    ("a b", "character outside"),
    ("a:", "character outside"),
    ("a:b", "character outside"),
    ("a\r\nNats-Rollup", "character outside"),
    ("a\n", "character outside"),
    ("a\0", "character outside"),
    ("a\t", "character outside"),
    ("\u{7f}", "character outside"),
    ("\u{1b}[0m", "character outside"),
    ("é", "character outside"),
    ("Ⓝats-x", "character outside"),
    ("nats\u{2010}x", "character outside"),
    ("\u{202e}a", "character outside"),
    ("a/b", "character outside"),
    ("a@b", "character outside"),
    ("a,b", "character outside"),
    ("a;b", "character outside"),
    ("a=b", "character outside"),
    ("a\"b", "character outside"),
    ("(a)", "character outside"),
    ("[a]", "character outside"),
    ("{a}", "character outside"),
    ("<a>", "character outside"),
    ("a\\b", "character outside"),
    ("a?", "character outside"),
    ("Nats-Msg-Id", "reserved prefix"),
    ("nats-rollup", "reserved prefix"),
    ("NATS-TTL", "reserved prefix"),
    ("Nats-Expected-Last-Sequence", "reserved prefix"),
    ("Nats-Schedule", "reserved prefix"),
    ("nats-", "reserved prefix"),
    ("iobox-id", "reserved prefix"),
    ("IOBOX-Key", "reserved prefix"),
    ("Iobox-Encoded", "reserved prefix"),
    ("iobox-", "reserved prefix"),
];

/// Headers as an application gives them.
///
/// Taken are at most 64 with names of 1 to 128 characters of a token, unique without regard to case and
/// without a reserved prefix, values of at most 4 KiB without control characters, 16 KiB together.
#[must_use]
pub fn headers() -> Vec<Entry<Pairs>> {
    let (name, value) = ("n".repeat(128), "v".repeat(4_096));
    let third = "w".repeat(4_096 - 128 - 4);
    let mut most = pairs(&[
        (&name, &value),
        ("b", &value),
        ("c", &value),
        ("dd", &third),
    ]);
    let mut entries = vec![
        Entry::taken("none", Vec::new()),
        Entry::taken("the most", many(64, "v")),
        Entry::taken("the most bytes", most.clone()),
        Entry::taken(
            "names that differ by a letter",
            pairs(&[("ab", "1"), ("abc", "2")]),
        ),
        Entry::taken(
            "an order of their own",
            pairs(&[("z", "1"), ("a", "2"), ("m", "3")]),
        ),
    ];
    most[3].1.push('w');
    let long = "s3cr3t".repeat(683);
    for (what, given, says) in [
        ("one too many", many(65, "s3cr3t"), "65 headers"),
        ("ten thousand", many(10_000, ""), "10000 headers"),
        ("one byte too many", most, "16385 bytes together"),
        (
            "a long name",
            pairs(&[(&"n".repeat(129), "s3cr3t")]),
            "has 129 bytes",
        ),
        ("a long value", pairs(&[("a", &long)]), "has 4098 bytes"),
        (
            "a name twice",
            pairs(&[("a", "s3cr3t"), ("a", "2")]),
            "given twice",
        ),
        (
            "a name twice in another case",
            pairs(&[("aB", "s3cr3t"), ("Ab", "2")]),
            "given twice",
        ),
        (
            "a line end in a value",
            pairs(&[("a", "s3cr3t\r\nNats-Rollup: all")]),
            "at byte 6",
        ),
        ("a zero in a value", pairs(&[("a", "\0")]), "at byte 0"),
        (
            "a bad one behind a good one",
            pairs(&[("a", "1"), ("b c", "s3cr3t")]),
            "header 1",
        ),
    ] {
        entries.push(Entry::refused(what, given, says));
    }
    for value in VALUES {
        let name = format!("the value {}", value.escape_debug());
        entries.push(Entry::taken(
            name,
            pairs(&[("value", value), ("next", "plain")]),
        ));
    }
    for name in NAMES {
        entries.push(Entry::taken(
            format!("the name {name}"),
            pairs(&[(name, "v")]),
        ));
    }
    for (name, says) in BAD_NAMES {
        let what = format!("the name {}", name.escape_debug());
        entries.push(Entry::refused(what, pairs(&[(name, "s3cr3t")]), says));
    }
    for c in controls() {
        let (what, value) = (format!("a value with {c:?}"), format!("s3cr3t{c}"));
        entries.push(Entry::refused(
            what,
            pairs(&[("a", &value)]),
            "control character",
        ));
    }
    entries
}

/// Texts that a store may find where it keeps headers, written by somebody else or spoiled.
///
/// Taken are arrays of pairs of strings and objects of strings; all others are
/// [`Corrupt`](ErrorKind::Corrupt).
#[must_use]
pub fn stored_headers() -> Vec<Entry> {
    let deep = "[".repeat(100_000);
    let deep_pairs = format!("[[\"a\",{}", "[".repeat(10_000));
    let long = format!("[[\"a\",\"{}\"]]", "v".repeat(5_000));
    let taken = [
        "[]",
        "{}",
        " [ ] ",
        "[[\"a\",\"b\"]]",
        "{\"a\":\"b\"}",
        "[[\"\\u0061\",\"\\ud83e\\udd80\"]]",
    ];
    let refused = [
        "",
        " ",
        "null",
        "true",
        "1",
        "1e999",
        "\"s3cr3t\"",
        "[",
        "]",
        "{",
        "[[",
        "[[]]",
        "[[\"a\"]]",
        "[\"a\",\"b\"]",
        "[[\"a\",\"s3cr3t\",\"c\"]]",
        "[[\"a\",null]]",
        "[[\"a\",1]]",
        "[[1,\"a\"]]",
        "[[\"a\",[\"s3cr3t\"]]]",
        "{\"a\":1}",
        "{\"a\":null}",
        "{\"a\":{\"b\":\"s3cr3t\"}}",
        "{\"a\":\"s3cr3t\"",
        "[[\"a\",\"b\"]]x",
        "[[\"a\",\"b\"],]",
        "[['a','b']]",
        "[[\"a\",\"\\ud800\"]]",
        "[[\"a\",\"\\x\"]]",
        "[[\"a\",\"s3cr3t\\n\"]]",
        "[[\"a\",\"\\u0000\"]]",
        "[[\"\",\"s3cr3t\"]]",
        "[[\"a b\",\"s3cr3t\"]]",
        "[[\"Nats-Rollup\",\"all\"]]",
        "[[\"iobox-id\",\"s3cr3t\"]]",
        "[[\"a\",\"1\"],[\"A\",\"s3cr3t\"]]",
        "\u{feff}[]",
        "[]\0",
        &deep,
        &deep_pairs,
        &long,
    ];
    let named = |text: &str| {
        text.chars()
            .take(40)
            .flat_map(char::escape_debug)
            .collect::<String>()
    };
    let mut entries: Vec<Entry> = taken.map(|text| Entry::taken(named(text), text)).into();
    for text in refused {
        let entry = Entry::refused(named(text), text, "stored headers");
        entries.push(entry.as_kind(ErrorKind::Corrupt));
    }
    entries
}
