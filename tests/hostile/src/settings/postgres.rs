//! Settings of the Postgres store: names in SQL, and the URL.

use iobox::{Result, postgres::Config};
use iobox_testkit::hostile::{self, Entry};

use super::nats::table;

/// Builds a configuration with this schema and this prefix, when it is not empty.
///
/// # Errors
/// As [`Config`] says.
pub fn postgres_name(text: &str) -> Result<Config> {
    let config = Config::builder().schema(text).table_prefix(text);
    config.build()
}

/// Texts for the schema and the prefix of tables.
#[must_use]
pub fn postgres_names() -> Vec<Entry> {
    let mut entries = hostile::identifiers();
    let reserved = ["pg_", "pg_temp", "pg_catalog", "pg_toast_temp_1"];
    let reserved = reserved.map(|text| (text, "starts with pg_"));
    entries.extend(table(&["sqlite_", "iobox_2"], &reserved));
    entries.push(Entry::refused("nothing", "", "has 0 bytes"));
    entries
}

/// Texts of URLs that are refused before anybody is connected to.
#[must_use]
pub fn postgres_urls() -> Vec<Entry> {
    let unread = [
        "",
        " ",
        "s3cr3t",
        "localhost:5432/x",
        "me:s3cr3t@localhost/x",
        "//me:s3cr3t@localhost/x",
        "http://me:s3cr3t@localhost/x",
        "mysql://me:s3cr3t@localhost/x",
        "s3cr3t://localhost/x",
        "postgres:s3cr3t@localhost/x",
        "\u{1b}[0m://localhost",
        "postgres://me:s3cr3t@localhost:port/x",
        "postgres://me:s3cr3t@localhost:65536/x",
        "postgres://me:s3cr3t@[::1/x",
        "postgres://me:s3cr3t@[x]/x",
        "postgres://me:s3cr3t@a b/x",
        "postgres://me:s3cr3t@a^b/x",
        "postgres://me:s3cr3t%ff@localhost/x",
        "postgres://s3cr3t%ff@localhost/x",
        "postgres://me@localhost/s3cr3t%ff",
        "postgres://me@localhost/x?sslmode=s3cr3t",
        "postgres://me@localhost/x?port=s3cr3t",
        "postgres://me@localhost/x?hostaddr=s3cr3t",
        "postgres://me@localhost/x?statement-cache-capacity=s3cr3t",
    ];
    let far = [
        "postgres://me:s3cr3t@db.example.test/x",
        "postgres://me:s3cr3t@10.0.0.1/x",
        "postgres://me:s3cr3t@localhost.example.test/x",
        "postgres://me:s3cr3t@127.0.0.1.example.test/x",
        "postgres://me:s3cr3t@[2001:db8::1]/x",
        "postgres://me:s3cr3t@localhost/x?host=db.example.test",
        "postgres://me:s3cr3t@localhost/x?hostaddr=10.0.0.1",
        "postgres://me:s3cr3t@db.example.test/x?sslmode=disable",
        "postgres://me:s3cr3t@db.example.test/x?sslmode=prefer",
        "postgres://me:s3cr3t@db.example.test/x?sslmode=require",
        "postgres://me:s3cr3t@db.example.test/x?sslmode=verify-ca",
        "postgres://me:s3cr3t@db.example.test/x?sslmode=verify-full&sslmode=require",
    ];
    let mut entries = table(&[], &unread.map(|url| (url, "connection URL")));
    entries.extend(table(&[], &far.map(|url| (url, "another host"))));
    entries
}
