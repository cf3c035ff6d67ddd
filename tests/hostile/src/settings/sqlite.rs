//! Settings of the SQLite store: the prefix of tables, and the path.

use iobox::{Result, sqlite::Config};
use iobox_testkit::hostile::{self, Entry};

use super::nats::table;

/// Builds a configuration with this prefix.
///
/// # Errors
/// As [`Config`] says.
pub fn sqlite_name(text: &str) -> Result<Config> {
    Config::builder("a.db").table_prefix(text).build()
}

/// Builds a configuration with this path.
///
/// # Errors
/// As [`Config`] says.
pub fn sqlite_path(text: &str) -> Result<Config> {
    Config::builder(text).build()
}

/// Texts for the prefix of tables.
#[must_use]
pub fn sqlite_names() -> Vec<Entry> {
    let mut entries = hostile::identifiers();
    let reserved = ["sqlite_", "sqlite_sequence", "sqlite_x"];
    let reserved = reserved.map(|text| (text, "starts with sqlite_"));
    entries.extend(table(&["pg_", "iobox_2"], &reserved));
    entries.push(Entry::refused("nothing", "", "has 0 bytes"));
    entries
}

/// Texts for the path of the file. What opens no file is found out when it is opened.
#[must_use]
pub fn sqlite_paths() -> Vec<Entry> {
    let refused = [("", "in memory"), (":memory:", "in memory")];
    table(
        &["a.db", "../a.db", "ü.db", "a b.db", "';.db", "%00.db"],
        &refused,
    )
}
