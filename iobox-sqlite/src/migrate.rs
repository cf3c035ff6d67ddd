//! Migration: making the tables, and verifying that they are what this program knows.

use iobox_core::{
    Error, Result,
    message::{IdSource, Origin},
    partition::Partitions,
    queue::Queue,
    store::StoreInfo,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    Config,
    error::Failure,
    gate::{Gate, Urgency},
    ident::Ident,
    inbox::InboxSql,
    log,
    sql::{Sql, fill},
};

/// The version of the tables that this program makes and knows.
const VERSION: i64 = 4;

/// What stands in a row of the outbox and in one of a handler.
const ROW: &str = "\
    revision     INTEGER NOT NULL DEFAULT 0 CHECK (revision BETWEEN 0 AND 2147483647),
    attempt      INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    uncertain    INTEGER NOT NULL DEFAULT 0,
    alone        INTEGER NOT NULL DEFAULT 0,
    suspect      INTEGER NOT NULL DEFAULT 0,
    halts        INTEGER NOT NULL DEFAULT 0,
    absorbed     INTEGER NOT NULL DEFAULT 0,
    replay       INTEGER,
    size         INTEGER NOT NULL,
    enqueued_at  INTEGER NOT NULL,
    due_at       INTEGER,
    settled_at   INTEGER,
";

/// The table of messages. State 6, logged, is that of version 4.
const OUTBOX: &str = "
-- AUTOINCREMENT: a seq is never used again, also after a purge.
CREATE TABLE IF NOT EXISTS {p}outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    partition    INTEGER NOT NULL CHECK (partition BETWEEN 0 AND 255),
    state        INTEGER NOT NULL DEFAULT 6 CHECK (state BETWEEN 0 AND 6),
{row}    id           TEXT NOT NULL,
    topic        TEXT NOT NULL,
    key          TEXT,
    reason       TEXT
) STRICT;
";

/// Makes the table of messages anew, with the states that it may have since version 4. The messages that are
/// there keep theirs.
const REBUILD: &str = "
INSERT INTO {p}rebuilt SELECT * FROM {p}outbox;
DELETE FROM sqlite_sequence WHERE name = '{p}rebuilt';
INSERT INTO sqlite_sequence (name, seq)
    SELECT '{p}rebuilt', seq FROM sqlite_sequence WHERE name = '{p}outbox';
DROP TABLE {p}outbox;
ALTER TABLE {p}rebuilt RENAME TO {p}outbox;
";

/// The tables of version 1. Every statement may be repeated.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS {p}migration (
    version     INTEGER PRIMARY KEY,
    applied_at  INTEGER NOT NULL
) STRICT;

-- One row: the origin of the outbox, and what is fixed when the tables are made.
CREATE TABLE IF NOT EXISTS {p}meta (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    origin          TEXT NOT NULL,
    partitions      INTEGER NOT NULL,
    replays         INTEGER NOT NULL DEFAULT 0,
    -- Tests put the clock forward with it.
    clock_shift_ms  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The clock of the database, in milliseconds since the Unix epoch. All time comes from here.
CREATE VIEW IF NOT EXISTS {p}clock AS
    SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) + clock_shift_ms AS now FROM {p}meta;

CREATE TABLE IF NOT EXISTS {p}partition (
    queue      TEXT NOT NULL,
    partition  INTEGER NOT NULL,
    -- NULL when nobody has it; empty when nobody has it and a dead owner's work is not done yet.
    owner      TEXT,
    epoch      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS {p}instance (
    queue      TEXT NOT NULL,
    id         TEXT NOT NULL,
    started    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    in_flight  INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;

{outbox}
-- The content of the rows stands apart, so that a change of a row does not write it again.
CREATE TABLE IF NOT EXISTS {p}content (
    seq      INTEGER PRIMARY KEY,
    headers  TEXT NOT NULL,
    payload  BLOB NOT NULL
) STRICT;

CREATE TRIGGER IF NOT EXISTS {p}outbox_removed AFTER DELETE ON {p}outbox BEGIN
    DELETE FROM {p}content WHERE seq = old.seq;
END;

-- Every index ends in the seq, which is the row's address.
CREATE INDEX IF NOT EXISTS {p}outbox_pending ON {p}outbox (partition) WHERE state = 0;
CREATE INDEX IF NOT EXISTS {p}outbox_due ON {p}outbox (partition, due_at) WHERE state = 1;
CREATE INDEX IF NOT EXISTS {p}outbox_waiting ON {p}outbox (partition, key) WHERE state = 2;
CREATE INDEX IF NOT EXISTS {p}outbox_dead ON {p}outbox (state) WHERE state = 3;
CREATE INDEX IF NOT EXISTS {p}outbox_blocker ON {p}outbox (partition, key)
    WHERE key IS NOT NULL AND {blocks};
CREATE INDEX IF NOT EXISTS {p}outbox_settled ON {p}outbox (settled_at) WHERE state IN (4, 5);
CREATE INDEX IF NOT EXISTS {p}outbox_replay ON {p}outbox (replay) WHERE replay IS NOT NULL;
CREATE INDEX IF NOT EXISTS {p}outbox_id ON {p}outbox (id);

-- Ids that callers brought; they outlive their messages.
CREATE TABLE IF NOT EXISTS {p}known (
    id           TEXT PRIMARY KEY,
    enqueued_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {p}known_enqueued ON {p}known (enqueued_at);
";

/// The tables of version 2: the inbox. Every statement may be repeated.
const INBOX: &str = "
-- Handlers that were ever subscribed. The rows of number n have the partitions from 256 * n on.
CREATE TABLE IF NOT EXISTS {p}handler (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE IF NOT EXISTS {p}subscription (
    pattern  TEXT NOT NULL,
    handler  INTEGER NOT NULL,
    PRIMARY KEY (pattern, handler)
) STRICT, WITHOUT ROWID;

-- The messages that were received, each once.
CREATE TABLE IF NOT EXISTS {p}received (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    source       TEXT NOT NULL,
    origin       TEXT NOT NULL,
    id           TEXT NOT NULL,
    topic        TEXT NOT NULL,
    key          TEXT,
    size         INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    -- When it happened, if its producer said so.
    occurred_at  INTEGER,
    -- Whether no handler was subscribed to its topic so far.
    unrouted     INTEGER NOT NULL,
    headers      TEXT NOT NULL,
    payload      BLOB NOT NULL,
    UNIQUE (source, origin, id)
) STRICT;
CREATE INDEX IF NOT EXISTS {p}received_at ON {p}received (received_at) WHERE unrouted = 0;
CREATE INDEX IF NOT EXISTS {p}received_unrouted ON {p}received (received_at) WHERE unrouted = 1;

-- One row for each message and handler; as the rows of the outbox.
CREATE TABLE IF NOT EXISTS {p}inbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    partition    INTEGER NOT NULL CHECK (partition > 255),
    state        INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 5),
{row}    message      INTEGER NOT NULL,
    id           TEXT NOT NULL,
    topic        TEXT NOT NULL,
    key          TEXT,
    reason       TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS {p}inbox_pending ON {p}inbox (partition) WHERE state = 0;
CREATE INDEX IF NOT EXISTS {p}inbox_due ON {p}inbox (partition, due_at) WHERE state = 1;
CREATE INDEX IF NOT EXISTS {p}inbox_waiting ON {p}inbox (partition, key) WHERE state = 2;
CREATE INDEX IF NOT EXISTS {p}inbox_dead ON {p}inbox (state) WHERE state = 3;
CREATE INDEX IF NOT EXISTS {p}inbox_blocker ON {p}inbox (partition, key)
    WHERE key IS NOT NULL AND {blocks};
CREATE INDEX IF NOT EXISTS {p}inbox_settled ON {p}inbox (settled_at) WHERE state IN (4, 5);
CREATE INDEX IF NOT EXISTS {p}inbox_replay ON {p}inbox (replay) WHERE replay IS NOT NULL;
CREATE INDEX IF NOT EXISTS {p}inbox_id ON {p}inbox (id);
CREATE INDEX IF NOT EXISTS {p}inbox_message ON {p}inbox (message);

-- Marks without a message, for those who have a consumer of their own.
CREATE TABLE IF NOT EXISTS {p}admitted (
    source       TEXT NOT NULL,
    handler      TEXT NOT NULL,
    origin       TEXT NOT NULL,
    id           TEXT NOT NULL,
    admitted_at  INTEGER NOT NULL,
    PRIMARY KEY (source, handler, origin, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {p}admitted_at ON {p}admitted (admitted_at);

INSERT INTO {p}migration (version, applied_at) VALUES (2, {now}) ON CONFLICT DO NOTHING;
";

/// The tables of version 3: how far sources were read. Every statement may be repeated.
const INGEST: &str = "
-- How far each source was read: moved in the transaction that stores what was read.
CREATE TABLE IF NOT EXISTS {p}source (
    name      TEXT NOT NULL PRIMARY KEY,
    position  TEXT NOT NULL,
    moved_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO {p}migration (version, applied_at) VALUES (3, {now}) ON CONFLICT DO NOTHING;
";

/// What stands in the new tables. `{origin}` and `{partitions}` are filled in.
const ROWS: &str = "
INSERT INTO {p}meta (one, origin, partitions) VALUES (1, {origin}, {partitions})
    ON CONFLICT DO NOTHING;
WITH RECURSIVE n (partition) AS (
    SELECT 0 UNION ALL SELECT partition + 1 FROM n WHERE partition + 1 < {partitions}
)
INSERT INTO {p}partition (queue, partition) SELECT '{queue}', partition FROM n WHERE true
    ON CONFLICT DO NOTHING;
INSERT INTO {p}migration (version, applied_at) VALUES (1, {now}) ON CONFLICT DO NOTHING;
";

/// A random UUID in SQL, for tables that are made by hand.
const RANDOM_UUID: &str = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || \
     substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || \
     substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";

/// The migration as SQL text, for teams that change their schema by other means.
///
/// Run it as it is, in one transaction; it may be repeated. The origin is drawn when it runs: never
/// copy the tables of one service to make those of another. Afterwards
/// [`verify`](crate::SqliteStore::verify) says whether the program agrees.
#[must_use]
pub fn migration_sql(config: &Config) -> String {
    let tables = tables(&config.prefix);
    let rows = rows(&config.prefix, config.partitions, RANDOM_UUID);
    let inbox = fill(&INBOX.replace("{row}", ROW), &config.prefix);
    let ingest = fill(INGEST, &config.prefix);
    let log = log_tables(&config.prefix);
    format!("{}\n{rows}{inbox}{ingest}{log}", tables.trim_start())
}

/// Brings the tables to the version that this program knows. Safe to run at the same time in
/// several processes: one does it, the others find it done.
pub(crate) fn migrate(
    conn: &mut Connection,
    gate: &Gate,
    sql: &Sql,
    prefix: &Ident,
    partitions: Partitions,
    ids: &dyn IdSource,
) -> Result<(), Failure> {
    gate.write(Urgency::Normal, conn, |tx| {
        if !table_exists(tx, &fill("{p}migration", prefix))? || version(tx, sql)? == 0 {
            let origin = format!("'{}'", ids.draw().hyphenated());
            tx.execute_batch(&tables(prefix))?;
            tx.execute_batch(&rows(prefix, partitions, &origin))?;
        }
        if version(tx, sql)? == 1 {
            tx.execute_batch(&fill(&INBOX.replace("{row}", ROW), prefix))?;
        }
        if version(tx, sql)? == 2 {
            tx.execute_batch(&fill(INGEST, prefix))?;
        }
        if version(tx, sql)? == 3 {
            tx.execute_batch(&log_tables(prefix))?;
        }
        if version(tx, sql)? == 3 {
            let rebuilt = outbox_table().replace("{p}outbox", "{p}rebuilt");
            tx.execute_batch(&fill(
                &format!("DROP VIEW {{p}}messages;{rebuilt}{REBUILD}"),
                prefix,
            ))?;
            tx.execute_batch(&tables(prefix))?;
            tx.execute_batch(&log_tables(prefix))?;
        }
        check(tx, sql, partitions).map(drop)
    })
}

/// Refuses tables that are missing, newer than this program, or made with another number of
/// partitions. Reads two rows.
pub(crate) fn check(
    conn: &Connection,
    sql: &Sql,
    partitions: Partitions,
) -> Result<StoreInfo, Failure> {
    let version = version(conn, sql)?;
    if version == 0 {
        return Err(Failure::from(Error::invalid(
            "the tables are not made yet; run migrate",
        )));
    }
    if version < VERSION {
        return Err(Failure::from(Error::invalid(format!(
            "the tables have version {version} and this program needs {VERSION}; run migrate"
        ))));
    }
    if version > VERSION {
        return Err(Failure::from(Error::invalid(format!(
            "the tables have version {version}, newer than version {VERSION}, which this program \
             knows; upgrade the program"
        ))));
    }
    Ok(meta(conn, sql, partitions)?.info)
}

/// Refuses what [`check`] refuses, and tables in which a statement of the store cannot run.
pub(crate) fn verify(
    conn: &Connection,
    sql: &Sql,
    inbox: &InboxSql,
    partitions: Partitions,
) -> Result<StoreInfo, Failure> {
    let info = check(conn, sql, partitions)?;
    for statement in sql.all().chain(inbox.all()) {
        conn.prepare(statement)?;
    }
    Ok(info)
}

/// The row of the meta table, with the clock.
pub(crate) struct Meta {
    pub(crate) info: StoreInfo,
    pub(crate) now: i64,
}

/// Reads what is fixed for the tables, and refuses another number of partitions.
pub(crate) fn meta(conn: &Connection, sql: &Sql, configured: Partitions) -> Result<Meta, Failure> {
    let (origin, partitions, now) = conn.prepare_cached(&sql.meta)?.query_row([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    })?;
    let origin = Uuid::try_parse(&origin)
        .map_err(|source| Error::corrupt("the stored origin is not a UUID").with_source(source))?;
    if partitions != i64::from(configured.count()) {
        return Err(Failure::from(Error::invalid(format!(
            "partitions is {}, but the tables were made with {partitions}; the number cannot be \
             changed later",
            configured.count()
        ))));
    }
    Ok(Meta {
        info: StoreInfo {
            origin: Origin::new(origin),
            partitions: configured,
        },
        now,
    })
}

fn version(conn: &Connection, sql: &Sql) -> Result<i64, Failure> {
    Ok(conn.query_row(&sql.version, [], |row| row.get(0))?)
}

fn table_exists(conn: &Connection, name: &str) -> Result<bool, Failure> {
    Ok(conn.table_exists(None, name)?)
}

fn tables(prefix: &Ident) -> String {
    fill(&TABLES.replace("{outbox}", &outbox_table()), prefix)
}

fn outbox_table() -> String {
    OUTBOX.trim().replace("{row}", ROW)
}

fn log_tables(prefix: &Ident) -> String {
    let text = log::TABLES.replace("{queue}", Queue::Outbox.name());
    fill(&log::place(true, &text), prefix)
}

fn rows(prefix: &Ident, partitions: Partitions, origin: &str) -> String {
    let text = ROWS
        .replace("{origin}", origin)
        .replace("{partitions}", &partitions.count().to_string())
        .replace("{queue}", Queue::Outbox.name());
    fill(&text, prefix)
}
