//! Settings of the publisher to NATS: servers, stream, prefix.

use iobox::{
    Result,
    nats::{Config, Prefix},
};
use iobox_testkit::hostile::{self, Entry};

/// Builds a configuration with these servers, to other hosts in plaintext too.
///
/// # Errors
/// As [`Config`] says.
pub fn nats_servers(text: &str) -> Result<Config> {
    let config = Config::builder(text, "ORDERS").allow_plaintext(true);
    config.build()
}

/// Builds a configuration with this name of a stream.
///
/// # Errors
/// As [`Config`] says.
pub fn nats_stream(text: &str) -> Result<Config> {
    Config::builder("nats://localhost", text).build()
}

/// Makes a prefix.
///
/// # Errors
/// As [`Prefix`] says.
pub fn nats_prefix(text: &str) -> Result<Prefix> {
    Prefix::new(text)
}

const URLS_TAKEN: &[&str] = &[
    "nats://localhost",
    "nats://localhost:4222",
    "nats://localhost:1,nats://localhost:2",
    " nats://localhost , nats://b ",
    "nats://[::1]:4222",
    "nats://localhost:4222/",
    "nats://my_host-1.example",
    "nats://[2001:db8::1]",
    "nats://127.0.0.1",
    "nats://s3cr3t@localhost",
    "nats://me:s3cr3t@localhost",
    "nats://:s3cr3t@localhost",
    "nats://me:s3cr3t%40%2F%3A%25@localhost",
    "nats://me:s3cr3t@a,nats://me:s3cr3t@b",
    "nats://me:s3cr3t@a,nats://b",
    "nats://%73%33cr3t@localhost",
    "nats://m%C3%A9:s3cr3t@localhost",
];

const URLS_REFUSED: &[(&str, &str)] = &[
    ("", "no URL"),
    (" ", "no URL"),
    (",", "no URL"),
    ("s3cr3t", "no URL"),
    ("localhost:4222", "no URL"),
    ("me:s3cr3t@localhost", "no URL"),
    ("nats:/localhost", "no URL"),
    ("nats:localhost", "no URL"),
    ("//localhost", "no URL"),
    ("nats://a,", "entry 1 is no URL"),
    ("nats://a,,nats://b", "entry 1 is no URL"),
    ("nats://a;s3cr3t", "a host with"),
    ("nats://a%3bs3cr3t", "a host with"),
    ("nats://é.s3cr3t", "a host with"),
    ("nats://localhost/s3cr3t", "behind the host"),
    ("nats://localhost?token=s3cr3t", "behind the host"),
    ("nats://localhost#s3cr3t", "behind the host"),
    ("nats://me:12/s3cr3t@localhost", "behind the host"),
    ("nats://me:12?s3cr3t@localhost", "behind the host"),
    ("nats://me:12#s3cr3t@localhost", "behind the host"),
    ("nats://s3cr3t/x@localhost", "behind the host"),
    ("http://s3cr3t@localhost", "unknown scheme"),
    ("https://me:s3cr3t@localhost", "unknown scheme"),
    ("ws://me:s3cr3t@localhost", "unknown scheme"),
    ("wss://me:s3cr3t@localhost", "unknown scheme"),
    ("redis://:s3cr3t@localhost", "unknown scheme"),
    ("NATS://s3cr3t@localhost", "unknown scheme"),
    ("s3cr3t://localhost", "unknown scheme"),
    ("\u{1b}[0m://localhost", "unknown scheme"),
    ("nats://", "entry 0"),
    ("nats:///s3cr3t", "entry 0"),
    ("nats://me:s3cr3t@", "entry 0"),
    ("nats://@", "entry 0"),
    ("nats://:s3cr3t@:4222", "entry 0"),
    ("nats://me:s3cr3t@localhost:port", "cannot be read"),
    ("nats://me:s3cr3t@localhost:65536", "cannot be read"),
    ("nats://me:s3cr3t@localhost:-1", "cannot be read"),
    ("nats://me:s3cr3t@[::1", "cannot be read"),
    ("nats://me:s3cr3t@[x]", "cannot be read"),
    ("nats://me:s3cr3t@a b", "cannot be read"),
    ("nats://me:s3cr3t@a\u{0}b", "cannot be read"),
    ("nats://me:s3cr3t@a^b", "cannot be read"),
    ("nats://s3cr3t%ff@localhost", "not UTF-8"),
    ("nats://me:s3cr3t%c3%28@localhost", "not UTF-8"),
    (
        "nats://me:s3cr3t@a,nats://me:other@b",
        "entry 1 has other credentials",
    ),
    (
        "nats://s3cr3t@a,nats://me:s3cr3t@b",
        "entry 1 has other credentials",
    ),
    ("tls://me:s3cr3t@localhost", "feature tls"),
];

/// Texts for the list of servers; `tls://` is refused, since these programs are built without it.
#[must_use]
pub fn nats_urls() -> Vec<Entry> {
    let mut entries = table(URLS_TAKEN, URLS_REFUSED);
    let many = |count: usize| vec!["nats://me:s3cr3t@localhost"; count].join(",");
    entries.extend([
        Entry::taken("the most servers", many(32)),
        Entry::refused("one server too many", many(33), "33 entries"),
        Entry::refused("ten thousand", ",".repeat(10_000), "10001 entries"),
        Entry::taken(
            "a long password",
            format!("nats://me:{}@localhost", "p".repeat(65_536)),
        ),
    ]);
    entries
}

/// Texts for the name of a stream.
#[must_use]
pub fn nats_streams() -> Vec<Entry> {
    let refused = [
        "a.b",
        "a b",
        "*",
        ">",
        "a/b",
        "a\\b",
        "é",
        "a\n",
        "a\t",
        "a\0",
        "\u{1b}[0m",
        "\u{202e}",
        "🦀",
        "$JS.API",
        "s3cr3t ",
        " a",
    ];
    let refused = refused.map(|text| (text, "illegal character"));
    let mut entries = table(
        &["ORDERS", "orders-1_2", "$KV_a", "a:b", "a{b}", "'", "%2e"],
        &refused,
    );
    entries.push(Entry::refused("nothing", "", "0 bytes"));
    entries
}

/// Texts for the prefix of subjects.
///
/// A prefix is empty or a topic of at most 64 bytes.
#[must_use]
pub fn nats_prefixes() -> Vec<Entry> {
    let mut entries = hostile::topics();
    entries.retain(|entry| {
        !entry.is_taken() && !entry.input.is_empty() || (1..=64).contains(&entry.input.len())
    });
    for entry in &mut entries {
        if let hostile::Verdict::Refused { kind, says } = entry.verdict {
            let says = if entry.input.len() > 64 {
                "at most 64"
            } else {
                says
            };
            entry.verdict = hostile::Verdict::Refused { kind, says };
        }
    }
    entries.extend([
        Entry::taken("nothing", ""),
        Entry::taken("the longest", "x".repeat(64)),
        Entry::refused("one byte too long", "x".repeat(65), "has 65 bytes"),
    ]);
    entries
}

/// A table of texts that are taken, and of others with what is said of them.
pub(super) fn table(taken: &[&str], refused: &[(&str, &'static str)]) -> Vec<Entry> {
    let name = |text: &str| text.escape_debug().to_string();
    let taken = taken.iter().map(|text| Entry::taken(name(text), *text));
    let refused = refused.iter();
    let refused = refused.map(|(text, says)| Entry::refused(name(text), *text, says));
    taken.chain(refused).collect()
}
