//! The one place where SQLite's errors get a kind.

use std::{error, fmt};

use iobox_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// The extended code of a transaction that read before another one committed and now wants to
/// write.
const BUSY_SNAPSHOT: i32 = 517;

/// What ends a closure inside of a transaction: an error of SQLite or one of iobox.
///
/// `?` makes one of either, and turns it into an [`iobox_core::Error`] where one is wanted.
#[derive(Debug)]
pub struct Failure(Error);

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        Self(sql_error(source))
    }
}

impl From<Error> for Failure {
    fn from(source: Error) -> Self {
        Self(source)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source()
    }
}

/// Gives an error of SQLite the kind that says what to do next.
///
/// For closures whose error type is [`iobox_core::Error`] itself; those that return a [`Failure`]
/// need only `?`.
#[must_use]
pub fn sql_error(source: rusqlite::Error) -> Error {
    let (kind, message) = meaning(&source);
    Error::new(kind, message).with_source(source)
}

/// What an error of SQLite means.
fn meaning(source: &rusqlite::Error) -> (ErrorKind, &'static str) {
    use ErrorKind::{Conflict, Corrupt, Internal, Invalid, Rejected, Unavailable};
    let Some(error) = source.sqlite_error() else {
        return match source {
            rusqlite::Error::SqlInputError { msg, .. } => misfit(msg),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => (
                Corrupt,
                "a stored value is not of the type that it should have",
            ),
            _ => (Internal, "a statement was used in a wrong way"),
        };
    };
    match error.code {
        ErrorCode::DatabaseBusy if error.extended_code == BUSY_SNAPSHOT => (
            Conflict,
            "another transaction committed since this one began to read; run it again, with BEGIN \
             IMMEDIATE",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (Unavailable, "the database is locked by another writer")
        }
        ErrorCode::DiskFull => (Unavailable, "the disk is full"),
        ErrorCode::SystemIoFailure => (Unavailable, "the disk or the file system failed"),
        ErrorCode::CannotOpen => (Unavailable, "the database file cannot be opened"),
        ErrorCode::OutOfMemory => (Unavailable, "SQLite ran out of memory"),
        ErrorCode::OperationInterrupted | ErrorCode::OperationAborted => {
            (Unavailable, "the statement was interrupted")
        }
        ErrorCode::FileLockingProtocolFailed | ErrorCode::SchemaChanged => {
            (Unavailable, "the database changed under the statement")
        }
        ErrorCode::ConstraintViolation => (Rejected, "a constraint of the tables was violated"),
        ErrorCode::TooBig => (Rejected, "a value is larger than SQLite takes"),
        ErrorCode::TypeMismatch => (Rejected, "a value is not of the type of its column"),
        ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied => {
            (Invalid, "the database file may not be written")
        }
        ErrorCode::NoLargeFileSupport => (Invalid, "the system cannot hold a file of this size"),
        ErrorCode::DatabaseCorrupt => (Corrupt, "the database file is damaged"),
        ErrorCode::NotADatabase => (Corrupt, "the file is not a SQLite database"),
        ErrorCode::Unknown => match source {
            rusqlite::Error::SqliteFailure(_, Some(text)) => misfit(text),
            rusqlite::Error::SqlInputError { msg, .. } => misfit(msg),
            _ => (Internal, "SQLite refused a statement"),
        },
        _ => (Internal, "SQLite was used in a wrong way"),
    }
}

/// What SQLite means by its generic error, of which only the text tells more.
fn misfit(text: &str) -> (ErrorKind, &'static str) {
    let missing = [
        "no such table",
        "no such column",
        "no such index",
        "has no column",
    ];
    if missing.iter().any(|start| text.contains(start)) {
        (
            ErrorKind::Invalid,
            "a table or column is missing; run migrate with this database and table prefix",
        )
    } else {
        (ErrorKind::Internal, "SQLite refused a statement")
    }
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Conflict, Corrupt, Internal, Invalid, Rejected, Unavailable};
    use rusqlite::ffi;

    use super::*;

    /// The codes of SQLite with their kinds, as `docs/errors.md` shows them.
    const CODES: &[(&str, i32, ErrorKind)] = &[
        ("SQLITE_BUSY", ffi::SQLITE_BUSY, Unavailable),
        (
            "SQLITE_BUSY_RECOVERY",
            ffi::SQLITE_BUSY_RECOVERY,
            Unavailable,
        ),
        ("SQLITE_BUSY_SNAPSHOT", ffi::SQLITE_BUSY_SNAPSHOT, Conflict),
        ("SQLITE_LOCKED", ffi::SQLITE_LOCKED, Unavailable),
        ("SQLITE_IOERR", ffi::SQLITE_IOERR, Unavailable),
        ("SQLITE_IOERR_FSYNC", ffi::SQLITE_IOERR_FSYNC, Unavailable),
        ("SQLITE_FULL", ffi::SQLITE_FULL, Unavailable),
        ("SQLITE_CANTOPEN", ffi::SQLITE_CANTOPEN, Unavailable),
        ("SQLITE_NOMEM", ffi::SQLITE_NOMEM, Unavailable),
        ("SQLITE_INTERRUPT", ffi::SQLITE_INTERRUPT, Unavailable),
        ("SQLITE_ABORT", ffi::SQLITE_ABORT, Unavailable),
        ("SQLITE_PROTOCOL", ffi::SQLITE_PROTOCOL, Unavailable),
        ("SQLITE_SCHEMA", ffi::SQLITE_SCHEMA, Unavailable),
        ("SQLITE_CONSTRAINT", ffi::SQLITE_CONSTRAINT, Rejected),
        (
            "SQLITE_CONSTRAINT_UNIQUE",
            ffi::SQLITE_CONSTRAINT_UNIQUE,
            Rejected,
        ),
        ("SQLITE_TOOBIG", ffi::SQLITE_TOOBIG, Rejected),
        ("SQLITE_MISMATCH", ffi::SQLITE_MISMATCH, Rejected),
        ("SQLITE_READONLY", ffi::SQLITE_READONLY, Invalid),
        ("SQLITE_PERM", ffi::SQLITE_PERM, Invalid),
        ("SQLITE_AUTH", ffi::SQLITE_AUTH, Invalid),
        ("SQLITE_NOLFS", ffi::SQLITE_NOLFS, Invalid),
        ("SQLITE_CORRUPT", ffi::SQLITE_CORRUPT, Corrupt),
        ("SQLITE_NOTADB", ffi::SQLITE_NOTADB, Corrupt),
        ("SQLITE_INTERNAL", ffi::SQLITE_INTERNAL, Internal),
        ("SQLITE_MISUSE", ffi::SQLITE_MISUSE, Internal),
        ("SQLITE_RANGE", ffi::SQLITE_RANGE, Internal),
        ("SQLITE_ERROR", ffi::SQLITE_ERROR, Internal),
    ];

    #[test]
    fn every_code_has_a_kind() {
        for (name, code, kind) in CODES {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(*code), None);
            assert_eq!(sql_error(source).kind(), *kind, "{name}");
        }
    }

    #[test]
    fn the_page_of_errors_says_the_same() {
        let row = |(name, code, kind): &(&str, i32, ErrorKind)| {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(*code), None);
            format!("| {name} | {kind} | {} |\n", meaning(&source).1)
        };
        let rows: String = CODES.iter().map(row).collect();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let page = std::fs::read_to_string(page).expect("the page");
        assert!(page.contains(&rows), "docs/errors.md should have:\n{rows}");
    }

    #[test]
    fn a_missing_table_says_run_migrate() {
        let conn = rusqlite::Connection::open_in_memory().expect("a database");
        for text in [
            "SELECT 1 FROM t",
            "INSERT INTO t VALUES (1)",
            "DROP INDEX t",
        ] {
            let error = sql_error(conn.prepare(text).map(drop).expect_err("nothing is there"));
            assert_eq!(error.kind(), Invalid, "{text}");
            assert!(error.to_string().contains("run migrate"), "{error}");
        }
        let error = sql_error(conn.prepare("SELEKT").map(drop).expect_err("no SQL"));
        assert_eq!(error.kind(), Internal);
    }

    #[test]
    fn a_value_of_a_wrong_type_is_corrupt() {
        let conn = rusqlite::Connection::open_in_memory().expect("a database");
        let read = conn.query_row("SELECT 'x'", [], |row| row.get::<_, i64>(0));
        assert_eq!(sql_error(read.expect_err("text")).kind(), Corrupt);
        let read = conn.query_row("SELECT -1", [], |row| row.get::<_, u32>(0));
        assert_eq!(sql_error(read.expect_err("range")).kind(), Corrupt);
    }
}
