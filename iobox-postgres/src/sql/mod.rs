//! The statements: all of them, named, made once for one schema and prefix.
//!
//! A statement is written with `{table}` for the qualified and quoted name of a table; each one
//! says which index it reads by and which locks it takes. Identifiers were checked before they come
//! here, and nothing else is ever put into a statement: this is the one place that says so to sqlx.

mod admin;
mod advance;
mod crowd;
mod cursor;
mod enqueue;
mod fetch;
mod inbox;
mod ingest;
mod lease;
mod log;
mod mark;
mod move_in;
mod names;
#[cfg(test)]
mod plan;
mod settle;
mod waiting;
mod wake;

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr as _, SqlStr, postgres::PgArguments, query::Query};

pub(crate) use admin::{AdminSql, SelectionSql};
pub(crate) use advance::AdvanceSql;
pub(crate) use crowd::CrowdSql;
pub(crate) use cursor::CursorSql;
pub(crate) use enqueue::EnqueueSql;
pub(crate) use fetch::FetchSql;
pub(crate) use inbox::InboxSql;
pub(crate) use ingest::IngestSql;
pub(crate) use lease::LeaseSql;
pub(crate) use mark::MarkSql;
pub(crate) use move_in::MoveSql;
pub(crate) use names::{Names, Shelf};
pub(crate) use settle::SettleSql;
pub(crate) use waiting::WaitingSql;
pub(crate) use wake::WakeSql;

/// One statement, ready to be sent.
#[derive(Clone)]
pub(crate) struct Statement(Arc<str>);

impl Statement {
    fn new(names: &Names, template: &str) -> Self {
        Self(names.fill(template).into())
    }

    /// What opens a transaction whose session may stand idle in it for no longer than `idle`.
    pub(crate) fn begin(idle: Duration) -> SqlStr {
        AssertSqlSafe(format!(
            "begin; set local idle_in_transaction_session_timeout = {}",
            idle.as_millis()
        ))
        .into_sql_str()
    }

    /// One message: `mark`, which [`MarkSql::execute`] wrote, and COMMIT, and then BEGIN if wanted.
    pub(crate) fn and_commit(mut mark: String, begins: bool) -> SqlStr {
        mark.push_str(if begins {
            "; commit; begin"
        } else {
            "; commit"
        });
        AssertSqlSafe(mark).into_sql_str()
    }

    /// The statement as a prepared query.
    pub(crate) fn query(&self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(&self.0)))
    }

    /// Sends the text as it is, with several statements in it, on a connection outside of a pool.
    pub(crate) fn raw(&self) -> sqlx::RawSql {
        sqlx::raw_sql(AssertSqlSafe(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Statement")
    }
}

/// All statements of a store.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) admin: AdminSql,
    pub(crate) advance: AdvanceSql,
    pub(crate) crowd: CrowdSql,
    pub(crate) cursor: CursorSql,
    pub(crate) enqueue: EnqueueSql,
    pub(crate) fetch: FetchSql,
    pub(crate) inbox: InboxSql,
    pub(crate) ingest: IngestSql,
    pub(crate) lease: LeaseSql,
    pub(crate) mark: MarkSql,
    pub(crate) settle: SettleSql,
    pub(crate) waiting: WaitingSql,
}

impl Sql {
    pub(crate) fn new(names: &Names) -> Self {
        Self {
            admin: AdminSql::new(names),
            advance: AdvanceSql::new(names),
            crowd: CrowdSql::new(names),
            cursor: CursorSql::new(names),
            enqueue: EnqueueSql::new(names),
            fetch: FetchSql::new(names),
            inbox: InboxSql::new(names),
            ingest: IngestSql::new(names),
            lease: LeaseSql::new(names),
            mark: MarkSql::new(names),
            settle: SettleSql::new(names),
            waiting: WaitingSql::new(names),
        }
    }
}
