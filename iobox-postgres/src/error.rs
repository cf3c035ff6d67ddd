//! The error: what sqlx and Postgres say, as what the caller should do.

use std::{error, fmt};

use iobox_core::{Error, ErrorKind};

/// What to tell people whose tables are missing or old.
pub(crate) const RUN_MIGRATE: &str = "the tables are not there as this program needs them: run \
     migrate, or have the script of PostgresStore::migration_sql run";

/// Maps an error of the driver to its kind; `doing` says what failed.
pub(crate) fn from_sqlx(doing: &'static str, source: sqlx::Error) -> Error {
    let (kind, advice) = match &source {
        sqlx::Error::Database(database) => {
            return from_database(doing, database.as_ref());
        }
        sqlx::Error::Io(_) => (ErrorKind::Unavailable, "the connection failed"),
        sqlx::Error::Tls(_) => (ErrorKind::Unavailable, "TLS could not be established"),
        sqlx::Error::PoolTimedOut => (
            ErrorKind::Unavailable,
            "no connection became free within the pool timeout",
        ),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            (ErrorKind::Unavailable, "the pool or the connection is gone")
        }
        // What a connection string holds may be a secret: the source stays out.
        sqlx::Error::Configuration(_) => {
            return Error::invalid(format!("{doing}: the connection options are not valid"));
        }
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
            (ErrorKind::Invalid, "an argument cannot be sent")
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ErrorKind::Corrupt, "a stored value cannot be read")
        }
        _ => (ErrorKind::Internal, "the driver failed"),
    };
    Error::new(kind, format!("{doing}: {advice}")).with_source(source)
}

fn from_database(doing: &str, source: &dyn sqlx::error::DatabaseError) -> Error {
    let code = source.code().unwrap_or_default();
    let (kind, advice) = classify(&code);
    let failure = Failure {
        code: code.clone().into_owned(),
        constraint: source.constraint().map(str::to_owned),
        // Messages of these classes quote the values that were refused.
        message: (!code.starts_with("22") && !code.starts_with("23"))
            .then(|| source.message().to_owned()),
    };
    Error::new(kind, format!("{doing}: {advice} (SQLSTATE {code})")).with_source(failure)
}

/// What a SQLSTATE asks for. The exact codes come before their classes.
pub(crate) fn classify(code: &str) -> (ErrorKind, &'static str) {
    let class = code.get(..2).unwrap_or_default();
    match (class, code) {
        (_, "40003") => (
            ErrorKind::Unavailable,
            "nobody knows whether the statement completed",
        ),
        ("40", _) | (_, "55P03" | "55006") => (
            ErrorKind::Conflict,
            "a concurrent transaction got in the way; run the transaction again",
        ),
        (_, "25P02") => (
            ErrorKind::Conflict,
            "an earlier error aborted the transaction; roll back and run it again",
        ),
        (_, "25006") => (
            ErrorKind::Unavailable,
            "the server takes no writes; it may be a standby",
        ),
        (_, "25P03" | "25P04" | "57014" | "57P05") => {
            (ErrorKind::Unavailable, "a timeout of the server ended it")
        }
        ("08" | "53" | "57" | "58", _) => (
            ErrorKind::Unavailable,
            "the server cannot be reached or is out of resources",
        ),
        (_, "42P01" | "42703" | "42883" | "3F000") => (ErrorKind::Invalid, RUN_MIGRATE),
        (_, "55000") => (ErrorKind::Invalid, "the tables do not fit this program"),
        (_, "42501") => (ErrorKind::Invalid, "the role lacks a privilege"),
        ("28", _) => (ErrorKind::Invalid, "the server refuses the credentials"),
        (_, "3D000") => (ErrorKind::Invalid, "the database does not exist"),
        (_, "26000" | "42P05") => (
            ErrorKind::Invalid,
            "prepared statements do not last; do not connect through a pooler that shares sessions \
             between transactions",
        ),
        ("22" | "23" | "44" | "54", _) => (
            ErrorKind::Rejected,
            "the server refuses a value and will go on to do so",
        ),
        (_, "XX001" | "XX002") => (ErrorKind::Corrupt, "the server reports corrupted data"),
        _ => (
            ErrorKind::Internal,
            "the server reports an unexpected error",
        ),
    }
}

/// What Postgres said, without the values of rows that its details quote.
#[derive(Debug)]
pub(crate) struct Failure {
    code: String,
    constraint: Option<String>,
    message: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}", self.code)?;
        if let Some(constraint) = &self.constraint {
            write!(f, " of constraint {constraint}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl error::Error for Failure {}

#[cfg(test)]
mod tests {
    use ErrorKind::{Conflict, Corrupt, Internal, Invalid, Rejected, Unavailable};

    use super::*;

    /// SQLSTATEs with their kinds; `docs/errors.md` shows those that are codes.
    const SQLSTATES: &[(&str, ErrorKind)] = &[
        ("40001", Conflict),
        ("40P01", Conflict),
        ("40002", Conflict),
        ("40003", Unavailable),
        ("55P03", Conflict),
        ("55006", Conflict),
        ("25P02", Conflict),
        ("25006", Unavailable),
        ("25P03", Unavailable),
        ("57014", Unavailable),
        ("57P01", Unavailable),
        ("57P02", Unavailable),
        ("57P03", Unavailable),
        ("57P05", Unavailable),
        ("08000", Unavailable),
        ("08003", Unavailable),
        ("08006", Unavailable),
        ("53000", Unavailable),
        ("53100", Unavailable),
        ("53200", Unavailable),
        ("53300", Unavailable),
        ("53400", Unavailable),
        ("58030", Unavailable),
        ("42P01", Invalid),
        ("42703", Invalid),
        ("42883", Invalid),
        ("3F000", Invalid),
        ("3D000", Invalid),
        ("55000", Invalid),
        ("42501", Invalid),
        ("28000", Invalid),
        ("28P01", Invalid),
        ("26000", Invalid),
        ("42P05", Invalid),
        ("22001", Rejected),
        ("22021", Rejected),
        ("22023", Rejected),
        ("23502", Rejected),
        ("23505", Rejected),
        ("23514", Rejected),
        ("54000", Rejected),
        ("XX001", Corrupt),
        ("XX002", Corrupt),
        ("XX000", Internal),
        ("42601", Internal),
        ("0A000", Internal),
        ("P0001", Internal),
        ("", Internal),
        ("é", Internal),
    ];

    #[test]
    fn every_sqlstate_says_what_to_do() {
        for (code, kind) in SQLSTATES {
            assert_eq!(classify(code).0, *kind, "{code}");
        }
        assert!(classify("42P01").1.contains("run migrate"));
    }

    #[test]
    fn the_page_of_errors_says_the_same() {
        let shown = SQLSTATES.iter().filter(|(code, _)| code.len() == 5);
        let rows =
            shown.map(|(code, kind)| format!("| {code} | {kind} | {} |\n", classify(code).1));
        let rows: String = rows.collect();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&rows), "docs/errors.md should have:\n{rows}");
    }

    #[test]
    fn driver_errors_say_what_to_do() {
        let table = [
            (sqlx::Error::PoolTimedOut, Unavailable),
            (sqlx::Error::PoolClosed, Unavailable),
            (sqlx::Error::WorkerCrashed, Unavailable),
            (sqlx::Error::BeginFailed, Unavailable),
            (
                sqlx::Error::Io(std::io::Error::other("connection reset")),
                Unavailable,
            ),
            (sqlx::Error::Tls("expired".into()), Unavailable),
            (sqlx::Error::Configuration("secret".into()), Invalid),
            (sqlx::Error::Encode("too long".into()), Invalid),
            (sqlx::Error::Decode("not a number".into()), Corrupt),
            (sqlx::Error::RowNotFound, Internal),
            (sqlx::Error::Protocol("odd".into()), Internal),
        ];
        for (source, kind) in table {
            let error = from_sqlx("test", source);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
