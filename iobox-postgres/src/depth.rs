//! The depth: in how many transactions sqlx believes a connection to be.
//!
//! sqlx 0.9.0 counts one too few from then on when a `begin` fails or is dropped, and what it sends for
//! those that are open is meant for the one around them. At depth 1 that is the ROLLBACK or the COMMIT of
//! the transaction, in which a handler then works without knowing; at depth 0 his next `begin` is a BEGIN,
//! and its `commit` a COMMIT. So a session stands deeper than it is. What is sent instead names a savepoint
//! that is not there: the server aborts the transaction, and nothing that follows in it succeeds, least of
//! all its mark.

use std::mem;

use iobox_core::{Error, Result};
use sqlx::{Connection, PgConnection, SqlSafeStr as _, SqlStr, postgres::PgTransactionManager};
use sqlx_core::transaction::TransactionManager;

/// The depth of a session. Each `begin` that fails in one transaction takes one away.
const DEPTH: usize = 8;

/// Opens the first transaction of a connection and leaves it open, at the depth of a session. sqlx counts
/// for ever, so that what a handler begins inside of it, and of those that follow, is a savepoint.
pub(crate) async fn begin_first(connection: &mut PgConnection, begin: SqlStr) -> sqlx::Result<()> {
    mem::forget(connection.begin_with(begin).await?);
    for _ in 1..DEPTH {
        mem::forget(connection.begin().await?);
    }
    // With all that were made in it.
    let release = "release savepoint _sqlx_savepoint_1".into_sql_str();
    sqlx::raw_sql(release).execute(connection).await?;
    Ok(())
}

/// Whether sqlx counts as many as for a session that nobody has begun anything in.
pub(crate) fn is_that_of_a_session(connection: &PgConnection) -> bool {
    depth(connection) == DEPTH
}

/// Fails for a session in which a `begin` failed: its transaction is as good as over.
pub(crate) fn check(connection: &PgConnection) -> Result<()> {
    if depth(connection) < DEPTH {
        return Err(Error::unavailable(
            "the transaction is over and not committed: a begin inside of it failed or was given up",
        ));
    }
    Ok(())
}

fn depth(connection: &PgConnection) -> usize {
    PgTransactionManager::get_transaction_depth(connection)
}
