//! The connection: how every one of the store is opened, and what is verified then.

use std::{cell::Cell, thread, time::Duration};

use iobox_core::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{
    Config, Synchronous,
    error::{Failure, sql_error},
};

/// SQLite 3.51.3: the first version without the bug that loses commits when a write-ahead log is
/// reset while another connection checkpoints.
const VERSION_MIN: i32 = 3_051_003;
/// What a write-ahead log is cut to after a reader that kept it growing is gone: 16 MiB.
const LOG_MAX_BYTES: i64 = 16 * 1024 * 1024;
/// How many statements a connection keeps prepared.
const STATEMENTS_MAX: usize = 64;

thread_local! {
    /// How long statements of this thread wait for another writer.
    static PATIENCE: Cell<Duration> = const { Cell::new(Config::BUSY_TIMEOUT) };
    /// How long the statement at hand has waited.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Opens a connection with the settings of `config` and reads them back.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid) when SQLite is too old, or does not take a setting;
/// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when the file cannot be opened.
pub(crate) fn open(config: &Config) -> Result<Connection> {
    if rusqlite::version_number() < VERSION_MIN {
        return Err(Error::invalid(format!(
            "SQLite {} is linked; 3.51.3 or later is needed, since earlier ones can lose commits",
            rusqlite::version()
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&config.path, flags).map_err(sql_error)?;
    set_up(&mut conn, config)?;
    Ok(conn)
}

/// Says how long statements of the calling thread wait for another writer.
pub(crate) fn be_patient(patience: Duration) {
    PATIENCE.set(patience);
}

/// Whether a transaction is open on `conn`.
pub(crate) fn in_transaction(conn: &Connection) -> bool {
    !conn.is_autocommit()
}

fn set_up(conn: &mut Connection, config: &Config) -> Result<(), Failure> {
    be_patient(config.busy_timeout);
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.busy_handler(Some(wait as fn(i32) -> bool))?;
    write_ahead(conn)?;
    let (name, level) = match config.synchronous {
        Synchronous::Full => ("FULL", 2),
        Synchronous::Normal => ("NORMAL", 1),
    };
    conn.pragma_update(None, "synchronous", name)?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    conn.query_row(
        &format!("PRAGMA journal_size_limit = {LOG_MAX_BYTES}"),
        [],
        |_| Ok(()),
    )?;
    for (pragma, wanted) in [
        ("synchronous", level),
        ("foreign_keys", 1),
        ("journal_size_limit", LOG_MAX_BYTES),
    ] {
        let set: i64 = conn.pragma_query_value(None, pragma, |row| row.get(0))?;
        if set != wanted {
            return Err(Failure::from(Error::invalid(format!(
                "SQLite did not take the setting {pragma}: it is {set} instead of {wanted}"
            ))));
        }
    }
    Ok(())
}

/// Switches the file to write-ahead logging, if it is not.
///
/// SQLite does not always call the busy handler for this: now and then, processes that make the same
/// file at the same time would refuse each other.
fn write_ahead(conn: &Connection) -> Result<(), Failure> {
    let mut tries = 0;
    let mode: String = loop {
        let asked = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match asked {
            Err(error) if is_busy(&error) && wait(tries) => tries += 1,
            other => break other?,
        }
    };
    if mode != "wal" {
        return Err(Failure::from(Error::invalid(format!(
            "the database file cannot be switched to write-ahead logging: its journal mode is {mode}"
        ))));
    }
    Ok(())
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Waits for another writer: the busy handler. Returns whether to try again.
///
/// SQLite's own handler soon sleeps 100 ms between looks, and starves beside writers that commit
/// every few; this one never sleeps longer than 5 ms.
fn wait(tries: i32) -> bool {
    let waited = if tries == 0 {
        Duration::ZERO
    } else {
        WAITED.get()
    };
    if waited >= PATIENCE.get() {
        return false;
    }
    let pause = match tries {
        0..10 => Duration::from_micros(500),
        10..50 => Duration::from_millis(2),
        _ => Duration::from_millis(5),
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "runs on a thread of the store, where SQLite waits for a lock"
    )]
    thread::sleep(pause);
    WAITED.set(waited + pause);
    true
}
