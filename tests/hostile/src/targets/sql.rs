//! Targets of the stores: identifiers, the URL of Postgres, rows that are read back.

use std::{cell::RefCell, str::FromStr};

use iobox::sqlite::rusqlite::Connection;
use iobox_testkit::hostile;
use sqlx::postgres::PgConnectOptions;

use super::{Target, bytes_of, shown};
use crate::settings;

/// Names that become a part of SQL: what is taken needs no quotes, whatever the database.
pub(super) const IDENTIFIER: Target = Target {
    name: "identifier",
    seeds: || bytes_of([settings::postgres_names(), settings::sqlite_names()]),
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let plain = |text: &str| {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            text.len() <= 48
                && text.bytes().all(legal)
                && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        };
        for (result, reserved) in [
            (settings::postgres_name(text).map(|_| ()), "pg_"),
            (settings::sqlite_name(text).map(|_| ()), "sqlite_"),
        ] {
            assert_eq!(result.is_ok(), plain(text) && !text.starts_with(reserved));
            if let Err(error) = result {
                shown(&error);
            }
        }
    },
};

/// The URL of Postgres: the driver parses it, and must not panic on what a person wrote.
pub(super) const POSTGRES_URL: Target = Target {
    name: "postgres_url",
    seeds: || bytes_of([settings::postgres_urls()]),
    run: |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = PgConnectOptions::from_str(text);
        }
    },
};

/// Texts that stand in a column of SQLite, of any bytes: what the driver reads of them is an error or a
/// text, and headers of it are an error or headers.
pub(super) const SQLITE_ROW: Target = Target {
    name: "sqlite_row",
    seeds: || bytes_of([hostile::stored_headers()]),
    run: |bytes| {
        thread_local! {
            static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
        }
        CONNECTION.with_borrow_mut(|connection| {
            let connection = connection
                .get_or_insert_with(|| Connection::open_in_memory().expect("a database in memory"));
            let mut statement = connection
                .prepare_cached("SELECT CAST(?1 AS TEXT)")
                .expect("a statement");
            let text = statement.query_row([bytes], |row| row.get::<_, String>(0));
            if let Ok(text) = text
                && let Err(error) = iobox::message::Headers::from_json(&text)
            {
                shown(&error);
            }
        });
    },
};
