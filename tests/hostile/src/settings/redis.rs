//! Settings of the publisher to Redis: server and prefix.

use iobox::{Result, redis::Config};
use iobox_testkit::hostile::Entry;

use super::nats::table;

/// Builds a configuration with this URL, to another host in plaintext too.
///
/// # Errors
/// As [`Config`] says.
pub fn redis_server(text: &str) -> Result<Config> {
    Config::builder(text).allow_plaintext(true).build()
}

/// Builds a configuration with this prefix.
///
/// # Errors
/// As [`Config`] says.
pub fn redis_prefix(text: &str) -> Result<Config> {
    Config::builder("redis://127.0.0.1").prefix(text).build()
}

const URLS_TAKEN: &[&str] = &[
    "redis://localhost",
    "redis://localhost:6379",
    "redis://localhost/15",
    "redis://localhost/",
    "redis://127.0.0.1:1",
    "redis://[::1]:6379",
    "redis://:s3cr3t@localhost",
    "redis://me:s3cr3t@localhost",
    "redis://me:s3cr3t@localhost:6379/3",
    "redis://me:s3cr3t%40%2F%3A%25@localhost",
    "redis://m%C3%A9:s3cr3t@localhost",
    "redis://%73%33cr3t:x@localhost",
    "redis://me:s3cr3t@example.com",
    "valkey://me:s3cr3t@localhost",
    "unix:///run/s3cr3t.sock",
    "unix:///run/redis.sock?user=me&pass=s3cr3t",
    "unix:///run/redis.sock?db=3&pass=s3cr3t",
    "redis+unix:///run/redis.sock?pass=s3cr3t",
    // A URL is read without the tabs and line ends in it.
    "redis://me:s3c\nr3t@localhost\n",
    "redis://me:\ts3cr3t\t@local\thost",
    "valkey+unix:///run/redis.sock?pass=s3cr3t",
];

const URLS_REFUSED: &[(&str, &str)] = &[
    ("", "no scheme"),
    (" ", "no scheme"),
    ("s3cr3t", "no scheme"),
    ("localhost:6379", "no scheme"),
    (":s3cr3t@localhost", "no scheme"),
    ("redis:/localhost", "no scheme"),
    ("redis:localhost", "no scheme"),
    ("//localhost", "no scheme"),
    ("http://:s3cr3t@localhost", "not known"),
    ("nats://:s3cr3t@localhost", "not known"),
    ("REDIS://:s3cr3t@localhost", "not known"),
    (" redis://:s3cr3t@localhost", "not known"),
    ("s3cr3t://localhost", "not known"),
    ("\u{1b}[0m://localhost", "not known"),
    ("redis://", "cannot be read"),
    ("redis:///s3cr3t", "cannot be read"),
    ("redis://:s3cr3t@", "cannot be read"),
    ("redis://:s3cr3t@:6379", "cannot be read"),
    ("redis://:s3cr3t@localhost:port", "cannot be read"),
    ("redis://:s3cr3t@localhost:65536", "cannot be read"),
    ("redis://:s3cr3t@localhost:-1", "cannot be read"),
    ("redis://:s3cr3t@localhost/db", "cannot be read"),
    (
        "redis://:s3cr3t@localhost/99999999999999999999",
        "cannot be read",
    ),
    ("redis://:s3cr3t@[::1", "cannot be read"),
    ("redis://:s3cr3t@[x]", "cannot be read"),
    ("redis://:s3cr3t@a b", "cannot be read"),
    ("redis://:s3cr3t@a\u{0}b", "cannot be read"),
    ("redis://:s3cr3t%ff@localhost", "cannot be read"),
    ("redis://s3cr3t%c3%28:x@localhost", "cannot be read"),
    ("redis://:s3cr3t@0.0.0.0", "cannot be read"),
    ("redis://me:12#s3cr3t@localhost", "has a #"),
    ("redis://s3cr3t#x@localhost", "has a #"),
    ("redis://localhost#s3cr3t", "has a #"),
    ("redis://me:12?s3cr3t@localhost", "behind its host"),
    ("redis://me:12/s3cr3t@localhost", "behind its host"),
    ("redis://s3cr3t/x@localhost", "behind its host"),
    ("redis://a;s3cr3t", "a host with"),
    ("redis://a%3bs3cr3t", "a host with"),
    ("rediss://:s3cr3t@localhost", "feature tls"),
    ("rediss://:s3cr3t@localhost/#insecure", "feature tls"),
    ("valkeys://:s3cr3t@localhost", "feature tls"),
];

/// Texts for the URL; TLS is refused, since these programs are built without it.
#[must_use]
pub fn redis_urls() -> Vec<Entry> {
    table(URLS_TAKEN, URLS_REFUSED)
}

/// Texts for the prefix of streams: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
#[must_use]
pub fn redis_prefixes() -> Vec<Entry> {
    let refused = [
        "{a}",
        "{",
        "}",
        "a{b}c",
        " ",
        "a b",
        "a\r\nFLUSHALL",
        "a\n",
        "a\0",
        "\u{1b}[0m",
        "é",
        "日本",
        "🦀",
        "\u{202e}",
        "*",
        "a*",
        "?",
        "[a]",
        "'",
        "\"",
        "\\",
        "/",
        "a/b",
        "%",
        "$",
        "a$b",
        "#",
        "@",
        "&",
        "(",
        "<",
        ">",
        "|",
        "~",
        "s3cr3t ",
        ",",
        ";",
        "=",
        "+",
        "!",
        "^",
        "`",
    ];
    let refused = refused.map(|text| (text, "outside of"));
    let taken = [
        "a",
        "iobox:",
        ":",
        "::",
        "-",
        ".",
        "..",
        "_",
        "0",
        "A.b_c:d-e",
        "FLUSHALL",
        "null",
    ];
    let mut entries = table(&taken, &refused);
    entries.extend([
        Entry::taken("the longest", "p".repeat(64)),
        Entry::refused("nothing", "", "has 0 bytes"),
        Entry::refused("one byte too long", "p".repeat(65), "has 65 bytes"),
        Entry::refused("a mebibyte", "p".repeat(1 << 20), "has 1048576 bytes"),
    ]);
    entries
}
