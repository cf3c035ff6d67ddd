//! The log: which of its rows are pending and which are done.
//!
//! The outbox is a log. A row is inserted as *logged* (state 6) and stays as it was inserted: it is
//! pending until the cursor of its partition has taken it, and done from then on. Rows with any other
//! state are apart from the log. A logged row was never changed: its revision is 0. The rows of
//! handlers are none of this.
//!
//! The cursor (table `cursor`) has taken the logged rows with a seq up to `upto`, and those that it
//! lists in `ahead`, of which `top` is the last. Since SQLite has one writer at a time, rows are
//! committed in the order of their seqs, so that nothing can appear behind a cursor.

use crate::sql::{ENTRY, FILTER};

/// The tables of version 4: the log. Every statement may be repeated.
pub(crate) const TABLES: &str = "
CREATE INDEX IF NOT EXISTS {p}outbox_log ON {p}outbox (partition) WHERE state = 6;

-- How far each partition is done: the logged rows with a seq up to `upto`, and those of `ahead`, a JSON
-- array in order, of which `top` is the last.
CREATE TABLE IF NOT EXISTS {p}cursor (
    partition  INTEGER PRIMARY KEY,
    upto       INTEGER NOT NULL DEFAULT 0,
    top        INTEGER NOT NULL DEFAULT 0,
    ahead      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(ahead))
) STRICT;
INSERT INTO {p}cursor (partition) SELECT partition FROM {p}partition WHERE queue = '{queue}'
    ON CONFLICT DO NOTHING;

-- When logged rows were done: one row for each settlement of a partition, with the seqs of it.
CREATE TABLE IF NOT EXISTS {p}settled (
    partition  INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    seqs       TEXT NOT NULL CHECK (json_valid(seqs)),
    PRIMARY KEY (partition, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {p}settled_at ON {p}settled (at);

-- The messages with their states by name, for people.
CREATE VIEW IF NOT EXISTS {p}messages AS
    SELECT o.seq, o.partition, o.id, o.topic, o.key,
        CASE {shown} WHEN 0 THEN 'pending' WHEN 1 THEN 'retrying' WHEN 2 THEN 'waiting'
            WHEN 3 THEN 'dead' WHEN 4 THEN 'done' WHEN 5 THEN 'discarded' END AS state,
        {attempts} AS attempt, o.uncertain, o.halts, o.reason, o.enqueued_at, o.due_at,
        {settled_at} AS settled_at
    FROM {p}outbox o;

-- Tables that an older program made need `migrate`.
INSERT INTO {p}migration (version, applied_at) SELECT 4, {now} WHERE EXISTS (
    SELECT 1 FROM sqlite_schema WHERE name = '{p}outbox' AND instr(sql, 'BETWEEN 0 AND 6') > 0
) ON CONFLICT DO NOTHING;
";

/// Whether the cursor `k` has listed the row `o` behind its reach. The list is read for few rows.
const LISTED: &str = "(o.seq <= k.top AND o.seq IN (SELECT value FROM json_each(k.ahead)))";

/// Whether the logged row `o` is done. By the primary key of `cursor`.
const COVERED: &str = "EXISTS (SELECT 1 FROM {p}cursor k WHERE k.partition = o.partition \
     AND (o.seq <= k.upto OR {listed}))";

/// When the logged row `o` was done. By the primary key of `settled`: the nearest that begins before
/// the seq, or one close by.
const SETTLED_AT: &str = "(SELECT s.at FROM {p}settled s WHERE s.partition = o.partition \
     AND s.first <= o.seq AND s.last >= o.seq AND o.seq IN (SELECT value FROM json_each(s.seqs)) \
     ORDER BY s.first DESC LIMIT 1)";

/// The logged rows `o` that are pending, with their cursors `k`: by index log, from each cursor on.
const PENDING: &str = "{p}cursor k CROSS JOIN {p}outbox o INDEXED BY {p}outbox_log \
     ON o.partition = k.partition AND o.state = 6 AND o.seq > k.upto AND NOT {listed}";

/// Fills in what differs between rows that are a log and rows that are not: `{open}` whether the row
/// `o` is not settled, `{done}` whether it is done, `{shown}` its state for everybody else,
/// `{attempts}`, `{revisions}` and `{settled_at}` what a settlement of it has recorded, `{logged}` how
/// many logged rows are pending, up to `?1`.
pub(crate) fn place(is_log: bool, text: &str) -> String {
    if !is_log {
        return text
            .replace("{open}", "o.state IN (0, 1, 2)")
            .replace("{done}", "o.state = 4")
            .replace("{shown}", "o.state")
            .replace("{attempts}", "o.attempt")
            .replace("{revisions}", "o.revision")
            .replace("{settled_at}", "o.settled_at")
            .replace("{logged}", "0");
    }
    let when_covered = |then: &str, otherwise: &str| {
        format!("CASE WHEN o.state = 6 AND {{covered}} THEN {then} ELSE {otherwise} END")
    };
    text.replace(
        "{open}",
        "(o.state IN (0, 1, 2) OR (o.state = 6 AND NOT {covered}))",
    )
    .replace("{done}", "(o.state = 4 OR (o.state = 6 AND {covered}))")
    .replace(
        "{shown}",
        "CASE WHEN o.state <> 6 THEN o.state WHEN {covered} THEN 4 ELSE 0 END",
    )
    .replace("{attempts}", &when_covered("1", "o.attempt"))
    .replace("{revisions}", &when_covered("1", "o.revision"))
    .replace("{settled_at}", &when_covered("{settled}", "o.settled_at"))
    .replace(
        "{logged}",
        "(SELECT count(*) FROM (SELECT 1 FROM {pending} LIMIT ?1))",
    )
    .replace("{settled}", SETTLED_AT)
    .replace("{pending}", PENDING)
    .replace("{covered}", COVERED)
    .replace("{listed}", LISTED)
}

/// The statements of the log.
#[derive(Debug)]
pub(crate) struct LogSql {
    pub(crate) cursor: String,
    pub(crate) scan: String,
    pub(crate) move_cursor: String,
    pub(crate) note: String,
    pub(crate) spill: String,

    pub(crate) count: String,
    pub(crate) list: String,
    pub(crate) pick: String,
    pub(crate) pick_published: String,
    pub(crate) oldest: String,
    pub(crate) shorten: String,
    pub(crate) forget: String,
    pub(crate) oldest_apart: String,
    pub(crate) remove: String,
    pub(crate) remove_logged: String,
}

impl LogSql {
    /// Builds the statements; `fill` fills in what they have in common with others.
    pub(crate) fn new(fill: impl Fn(&str) -> String) -> Self {
        let q = |text: &str| {
            fill(
                &text
                    .replace("{entry}", ENTRY)
                    .replace("{filter}", FILTER)
                    .replace("{pending}", PENDING),
            )
        };
        Self {
            // The primary key of the cursors.
            cursor: q("SELECT upto, top, ahead FROM {p}cursor WHERE partition = ?1"),
            // Index log (partition) with the seq behind it: covering, read in order.
            scan: q("SELECT seq FROM {p}outbox INDEXED BY {p}outbox_log \
                 WHERE partition = ?1 AND state = 6 AND seq > ?2 ORDER BY seq"),
            move_cursor: q(
                "UPDATE {p}cursor SET upto = ?2, top = ?3, ahead = ?4 WHERE partition = ?1",
            ),
            note: q("INSERT INTO {p}settled (partition, first, last, at, seqs) \
                 VALUES (?1, ?2, ?3, ?4, ?5)"),
            // The row by seq.
            spill: q("UPDATE {p}outbox SET state = 0 WHERE seq = ?1 AND state = 6"),

            // Index log, from the cursors on.
            count: q("SELECT count(*), min(o.enqueued_at) FROM {pending}"),
            list: q("SELECT {entry} FROM {pending} WHERE {filter} ORDER BY o.seq LIMIT ?5"),
            pick: q(
                "SELECT o.seq, o.revision, o.key FROM {pending} WHERE {filter} \
                 ORDER BY o.seq LIMIT ?5",
            ),
            // Index settled_at (at), and the row by seq.
            pick_published: q(
                "SELECT o.seq, o.revision, o.key FROM {p}settled s INDEXED BY {p}settled_at \
                 CROSS JOIN json_each(s.seqs) j CROSS JOIN {p}outbox o ON o.seq = j.value \
                 WHERE s.at BETWEEN ?1 AND ?2 AND o.state = 6 ORDER BY o.seq LIMIT ?3",
            ),
            // Index settled_at (at), oldest first.
            oldest: q(
                "SELECT at, partition, first, seqs FROM {p}settled INDEXED BY {p}settled_at \
                 WHERE at < {now} - ?1 ORDER BY at LIMIT 1",
            ),
            // The primary key of what was settled.
            shorten: q("UPDATE {p}settled SET first = ?3, seqs = ?4 \
                 WHERE partition = ?1 AND first = ?2"),
            forget: q("DELETE FROM {p}settled WHERE partition = ?1 AND first = ?2"),
            // Index settled (settled_at), oldest first.
            oldest_apart: q(
                "SELECT settled_at, seq FROM {p}outbox INDEXED BY {p}outbox_settled \
                 WHERE state IN (4, 5) AND settled_at < {now} - ?1 ORDER BY settled_at LIMIT ?2",
            ),
            // The row by seq.
            remove: q("DELETE FROM {p}outbox WHERE seq = ?1"),
            remove_logged: q("DELETE FROM {p}outbox WHERE seq = ?1 AND state = 6"),
        }
    }

    /// Every statement, for a check that all can be prepared.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        [
            &self.cursor,
            &self.scan,
            &self.move_cursor,
            &self.note,
            &self.spill,
            &self.count,
            &self.list,
            &self.pick,
            &self.pick_published,
            &self.oldest,
            &self.shorten,
            &self.forget,
            &self.oldest_apart,
            &self.remove,
            &self.remove_logged,
        ]
        .into_iter()
        .map(String::as_str)
    }
}
