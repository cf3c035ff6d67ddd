//! Every statement, by name, with the index that it relies on.
//!
//! `{p}` is the table prefix, `{now}` the clock, `{blocks}` what makes a row a blocker of its key.
//! A partial index serves a query only when the query repeats the index's condition word for word.
//!
//! The outbox and the queues of handlers have the same statements on other rows: see [`Shelf`].

use iobox_core::{inbox::SourceName, queue::Queue, store::State};
use rusqlite::Connection;

use crate::{
    ident::Ident,
    log::{self, LogSql},
};

/// The clock of the database, in milliseconds; the view adds the shift that tests set.
const NOW: &str = "(SELECT now FROM {p}clock)";

/// A row that blocks the rows of its key behind it.
const BLOCKS: &str = "(state IN (1, 2) OR (state = 3 AND halts = 1))";

/// The columns of a row that a person sees, in the order that `row::entry` reads.
pub(crate) const ENTRY: &str = "o.seq, o.partition & 255, {shown}, o.id, o.topic, o.key, {attempts}, \
     o.uncertain, o.halts, o.reason, o.enqueued_at, {settled_at}";

/// What a filter leaves of a listing; `?1` is the seq before the page, `?5` its length.
pub(crate) const FILTER: &str = "o.seq > ?1 AND (?2 IS NULL OR o.topic = ?2) \
     AND (?3 IS NULL OR o.key = ?3) AND (?4 IS NULL OR o.partition = ?4{base}){own}";

/// Which rows the statements are about. All handlers share the table `inbox`; the rows of handler `n`
/// have the partitions from `256 * n` on, those of the outbox the partitions as they are. The right to read a
/// source has no rows.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// The name of the queue.
    pub(crate) queue: String,
    /// The number of the handler, from 1; `None` for the outbox. Below 0 there are no rows.
    pub(crate) handler: Option<i64>,
}

impl Shelf {
    /// The rows of the outbox.
    pub(crate) fn outbox() -> Self {
        Self {
            queue: Queue::Outbox.name().to_owned(),
            handler: None,
        }
    }

    /// The right to read a source.
    pub(crate) fn source(name: &SourceName) -> Self {
        Self {
            queue: Queue::Ingest(name.clone()).name().to_owned(),
            handler: Some(-1),
        }
    }

    /// Whether the rows are a log.
    const fn is_log(&self) -> bool {
        self.handler.is_none()
    }

    /// Fills in what the rows differ in: `{base}` what is added to a partition, `{own}` the condition
    /// that a row is one of them, `{content}` the join with their content, `{origin}` its origin.
    fn place(&self, text: &str) -> String {
        let text = log::place(self.is_log(), text);
        let Some(number) = self.handler else {
            return text
                .replace("{base}", "")
                .replace("{own}", "")
                .replace("{content}", "LEFT JOIN {p}content c ON c.seq = o.seq")
                .replace("{origin}", "NULL");
        };
        let base = number * 256;
        text.replace("{p}outbox", "{p}inbox")
            .replace("{base}", &format!(" + {base}"))
            .replace(
                "{own}",
                &format!(" AND o.partition BETWEEN {base} AND {}", base + 255),
            )
            .replace(
                "{content}",
                "LEFT JOIN {p}received c \
                 ON c.seq = (SELECT message FROM {p}inbox m WHERE m.seq = o.seq)",
            )
            .replace("{origin}", "c.origin")
    }
}

/// The statements of one table prefix, for the rows of one queue.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) shelf: Shelf,
    /// The log, where the rows are one.
    pub(crate) log: Option<LogSql>,

    pub(crate) now: String,
    pub(crate) version: String,
    pub(crate) meta: String,

    pub(crate) register: String,
    pub(crate) renew: String,
    pub(crate) is_alive: String,
    pub(crate) expire: String,
    pub(crate) members: String,
    pub(crate) width: String,
    pub(crate) free: String,
    pub(crate) take: String,
    pub(crate) give_back: String,
    pub(crate) leave: String,

    pub(crate) holds: String,
    pub(crate) scan_pending: String,
    pub(crate) scan_due: String,
    pub(crate) row: String,
    pub(crate) front: String,
    pub(crate) next_waiting_key: String,
    pub(crate) release_key: String,
    pub(crate) key: String,
    pub(crate) set_aside: String,

    pub(crate) done: String,
    pub(crate) retry: String,
    pub(crate) dead: String,
    pub(crate) mark: String,
    pub(crate) standing: String,

    pub(crate) insert: String,
    pub(crate) insert_id: String,
    pub(crate) insert_content: String,

    pub(crate) backlog: String,
    pub(crate) count: [String; 4],
    pub(crate) halted_keys: String,
    pub(crate) slots: String,
    pub(crate) instances: String,
    pub(crate) list_open: [String; 4],
    pub(crate) list_all: String,
    pub(crate) get: String,
    pub(crate) pick_open: [String; 4],
    pub(crate) pick_all: String,
    pub(crate) pick_id: String,
    pub(crate) pick_published: String,
    pub(crate) done_behind: String,
    pub(crate) next_replay: String,
    pub(crate) replay: String,
    pub(crate) discard: String,
    pub(crate) progress: String,
    pub(crate) purge: String,
    pub(crate) purge_ids: String,
}

impl Sql {
    /// Builds the statements for tables whose names start with `prefix`.
    pub(crate) fn new(prefix: &Ident, shelf: Shelf) -> Self {
        let q = |text: &str| fill(&shelf.place(text), prefix);
        let open = |text: &str| {
            OPEN.map(|(state, index)| {
                q(&text
                    .replace("{index}", index)
                    .replace("{state}", &state.code().to_string())
                    .replace("{entry}", ENTRY)
                    .replace("{filter}", FILTER))
            })
        };
        let all = |text: &str| q(&text.replace("{entry}", ENTRY).replace("{filter}", FILTER));
        Self {
            log: shelf.is_log().then(|| LogSql::new(q)),
            now: q("SELECT now FROM {p}clock"),
            version: q("SELECT coalesce(max(version), 0) FROM {p}migration"),
            meta: q("SELECT origin, partitions, {now} FROM {p}meta"),

            // Leases: by the primary keys (queue, id) and (queue, partition).
            register: q(
                "INSERT INTO {p}instance (queue, id, started, expires, in_flight) \
                 VALUES (?1, ?2, {now}, {now} + ?3, ?4) \
                 ON CONFLICT (queue, id) DO UPDATE SET expires = excluded.expires, \
                 in_flight = excluded.in_flight",
            ),
            renew: q(
                "UPDATE {p}instance SET expires = {now} + ?3, in_flight = ?4 \
                 WHERE queue = ?1 AND id = ?2",
            ),
            is_alive: q(
                "SELECT 1 FROM {p}instance WHERE queue = ?1 AND id = ?2 AND expires > {now}",
            ),
            expire: q("DELETE FROM {p}instance WHERE queue = ?1 AND id <> ?2 AND expires <= {now}"),
            members: q("SELECT id FROM {p}instance WHERE queue = ?1 ORDER BY started, id"),
            width: q("SELECT count(*) FROM {p}partition WHERE queue = ?1"),
            // With those of the taker; an empty owner is one that nobody has and that is still
            // abandoned.
            free: q(
                "SELECT partition, epoch, owner IS NOT NULL, owner IS ?2 FROM {p}partition p \
                 WHERE queue = ?1 AND NOT EXISTS (SELECT 1 FROM {p}instance i \
                 WHERE i.queue = p.queue AND i.id = p.owner AND i.id <> ?2) \
                 ORDER BY partition",
            ),
            take: q("UPDATE {p}partition SET owner = ?3, epoch = epoch + 1 \
                 WHERE queue = ?1 AND partition = ?2 RETURNING epoch"),
            give_back: q("UPDATE {p}partition SET owner = CASE WHEN ?5 THEN '' END \
                 WHERE queue = ?1 AND partition = ?2 AND owner = ?3 AND epoch = ?4"),
            leave: q("DELETE FROM {p}instance WHERE queue = ?1 AND id = ?2"),

            // The fence: by the primary key (queue, partition). Inside of BEGIN IMMEDIATE nobody
            // else writes, so that reading it is enough.
            holds: q("SELECT 1 FROM {p}partition \
                 WHERE queue = ?1 AND partition = ?2 AND epoch = ?3 AND owner > ''"),
            // Index pending (partition) with the seq behind it: covering, read in order.
            scan_pending: q("SELECT seq FROM {p}outbox INDEXED BY {p}outbox_pending \
                 WHERE partition = ?1{base} AND state = 0 ORDER BY seq"),
            // Index due (partition, due_at): covering, read in order.
            scan_due: q("SELECT seq FROM {p}outbox INDEXED BY {p}outbox_due \
                 WHERE partition = ?1{base} AND state = 1 AND due_at <= ?2 ORDER BY due_at, seq"),
            // The row and its content by seq, and the first blocker of its key by index blocker
            // (partition, key).
            row: q(
                "SELECT revision, attempt, crashes, uncertain, alone, suspect, o.key, o.size, \
                 ?2 - enqueued_at, EXISTS (SELECT 1 FROM {p}outbox b INDEXED BY {p}outbox_blocker \
                 WHERE b.partition = o.partition AND b.key = o.key AND b.seq < o.seq AND {blocks}), \
                 o.id, o.topic, headers, payload, {origin} \
                 FROM {p}outbox o {content} WHERE o.seq = ?1",
            ),
            // Index blocker (partition, key), in the order of seq.
            front: q(
                "SELECT seq, state FROM {p}outbox INDEXED BY {p}outbox_blocker \
                 WHERE partition = ?1{base} AND key = ?2 AND {blocks} ORDER BY seq LIMIT ?3",
            ),
            // Index waiting (partition, key), one step of a loose scan.
            // The last key is given by a row of it, since it may not be text that can be bound.
            next_waiting_key: q(
                "SELECT seq, key FROM {p}outbox INDEXED BY {p}outbox_waiting \
                 WHERE partition = ?1{base} AND state = 2 \
                 AND key > coalesce((SELECT key FROM {p}outbox WHERE seq = ?2), '') \
                 ORDER BY key, seq LIMIT 1",
            ),
            // Index waiting (partition, key), a range of seq.
            release_key: q(
                "UPDATE {p}outbox INDEXED BY {p}outbox_waiting SET state = 0 \
                 WHERE partition = ?1{base} AND key = ?2 AND state = 2 AND seq <= ?3",
            ),
            // The row by seq.
            key: q("SELECT key FROM {p}outbox WHERE seq = ?1"),
            // The row by seq.
            set_aside: q("UPDATE {p}outbox SET state = 2, due_at = NULL WHERE seq = ?1"),

            // Settling: the row by seq, guarded by revision and state.
            done: q(
                "UPDATE {p}outbox AS o SET state = 4, settled_at = ?5, absorbed = ?6, due_at = NULL, \
                 suspect = 0, alone = 0, crashes = 0, attempt = ?4, revision = revision + 1 \
                 WHERE seq = ?1 AND partition = ?2{base} AND revision = ?3 AND {open}",
            ),
            retry: q(
                "UPDATE {p}outbox AS o SET state = 1, due_at = ?5, reason = ?6, \
                 uncertain = max(uncertain, ?7), alone = ?8, \
                 suspect = 0, crashes = 0, attempt = ?4, revision = revision + 1 \
                 WHERE seq = ?1 AND partition = ?2{base} AND revision = ?3 AND {open}",
            ),
            dead: q(
                "UPDATE {p}outbox AS o SET state = 3, settled_at = ?5, reason = ?6, \
                 halts = (?7 AND key IS NOT NULL), uncertain = max(uncertain, ?8), due_at = NULL, \
                 suspect = 0, alone = 0, crashes = 0, attempt = ?4, revision = revision + 1 \
                 WHERE seq = ?1 AND partition = ?2{base} AND revision = ?3 AND {open}",
            ),
            mark: q("UPDATE {p}outbox AS o SET suspect = ?5, crashes = ?6, \
                 state = CASE state WHEN 6 THEN 0 ELSE state END, attempt = ?4, revision = revision + 1 \
                 WHERE seq = ?1 AND partition = ?2{base} AND revision = ?3 AND {open}"),
            standing: q("SELECT {revisions}, {shown}, suspect FROM {p}outbox o \
                 WHERE seq = ?1 AND partition = ?2{base}"),

            insert: q("INSERT INTO {p}outbox \
                 (partition, state, id, topic, key, size, enqueued_at) \
                 VALUES (?1, 6, ?2, ?3, ?4, ?5, ?6)"),
            insert_content: q("INSERT INTO {p}content (seq, headers, payload) VALUES (?1, ?2, ?3)"),
            // The primary key of the ids that callers brought.
            insert_id: q(
                "INSERT INTO {p}known (id, enqueued_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            ),

            // Indexes pending, due and log, covering; at most the limit of each.
            backlog: q(
                "SELECT min(?1, (SELECT count(*) FROM (SELECT 1 FROM {p}outbox o \
                 INDEXED BY {p}outbox_pending WHERE state = 0{own} LIMIT ?1)) \
                 + (SELECT count(*) FROM (SELECT 1 FROM {p}outbox o \
                 INDEXED BY {p}outbox_due WHERE state = 1{own} LIMIT ?1)) + {logged})",
            ),
            // One partial index for each state that is not settled.
            count: open(
                "SELECT count(*), min(enqueued_at) FROM {p}outbox o INDEXED BY {index} \
                 WHERE state = {state}{own}",
            ),
            // Index dead.
            halted_keys: q(
                "SELECT count(DISTINCT key) FROM {p}outbox o INDEXED BY {p}outbox_dead \
                 WHERE state = 3 AND halts = 1 AND key IS NOT NULL{own}",
            ),
            slots: q("SELECT partition, owner, epoch FROM {p}partition \
                 WHERE queue = ?1 ORDER BY partition"),
            instances: q("SELECT id, in_flight, {now} - started, expires - {now} \
                 FROM {p}instance WHERE queue = ?1 ORDER BY started, id"),
            // One partial index for each state that is not settled; the history is never read.
            list_open: open(
                "SELECT {entry} FROM {p}outbox o INDEXED BY {index} \
                 WHERE state = {state} AND {filter} ORDER BY seq LIMIT ?5",
            ),
            // The primary key, from the page on.
            list_all: all("SELECT {entry} FROM {p}outbox o NOT INDEXED \
                 WHERE {filter} AND (1 << {shown}) & ?6 ORDER BY seq LIMIT ?5"),
            // Index id.
            get: all(
                "SELECT o.*, headers, payload, {origin} FROM (SELECT {entry} FROM {p}outbox o \
                 INDEXED BY {p}outbox_id WHERE id = ?1{own} ORDER BY seq LIMIT 1) o {content}",
            ),
            pick_open: open(
                "SELECT seq, revision, key FROM {p}outbox o INDEXED BY {index} \
                 WHERE state = {state} AND {filter} ORDER BY seq LIMIT ?5",
            ),
            pick_all: all("SELECT seq, revision, key FROM {p}outbox o NOT INDEXED \
                 WHERE {filter} AND (1 << {shown}) & ?6 ORDER BY seq LIMIT ?5"),
            // Index id.
            pick_id: q(
                "SELECT seq, revision, key FROM {p}outbox o INDEXED BY {p}outbox_id \
                 WHERE id = ?1 AND (1 << {shown}) & ?2{own} ORDER BY seq",
            ),
            // Index settled.
            pick_published: q("SELECT seq, revision, key FROM {p}outbox o \
                 INDEXED BY {p}outbox_settled \
                 WHERE state IN (4, 5) AND settled_at BETWEEN ?1 AND ?2 AND state = 4{own} \
                 ORDER BY seq LIMIT ?3"),
            // The primary key, from the newest row down.
            done_behind: q("SELECT seq, key FROM {p}outbox o NOT INDEXED \
                 WHERE seq > ?1 AND {done} AND key IS NOT NULL{own} ORDER BY seq DESC"),
            next_replay: q("UPDATE {p}meta SET replays = replays + 1 RETURNING replays"),
            // The row by seq, unless it changed since it was picked.
            replay: q(
                "UPDATE {p}outbox AS o SET state = 0, attempt = 0, crashes = 0, suspect = 0, \
                 alone = 0, halts = 0, due_at = NULL, settled_at = NULL, absorbed = 0, \
                 replay = ?3, revision = {revisions} + 1 WHERE seq = ?1 AND revision = ?2",
            ),
            discard: q(
                "UPDATE {p}outbox SET state = 5, halts = 0, suspect = 0, due_at = NULL, \
                 settled_at = {now}, revision = revision + 1 WHERE seq = ?1 AND revision = ?2",
            ),
            // Index replay.
            progress: q("SELECT state, count(*), sum(absorbed) FROM {p}outbox \
                 INDEXED BY {p}outbox_replay WHERE replay = ?1 GROUP BY state"),
            // Index settled (settled_at), oldest first.
            purge: q(
                "DELETE FROM {p}outbox WHERE seq IN (SELECT seq FROM {p}outbox o \
                 INDEXED BY {p}outbox_settled WHERE state IN (4, 5) AND settled_at < {now} - ?1{own} \
                 ORDER BY settled_at LIMIT ?2)",
            ),
            // Index known_enqueued (enqueued_at), oldest first; index id for the messages.
            purge_ids: q(
                "DELETE FROM {p}known WHERE id IN (SELECT id FROM {p}known k \
                 INDEXED BY {p}known_enqueued WHERE enqueued_at < {now} - ?1 AND NOT EXISTS \
                 (SELECT 1 FROM {p}outbox o INDEXED BY {p}outbox_id WHERE o.id = k.id) \
                 ORDER BY enqueued_at LIMIT ?2)",
            ),
            shelf,
        }
    }

    /// The time by the clock of the database, in milliseconds.
    pub(crate) fn read_clock(&self, conn: &Connection) -> rusqlite::Result<i64> {
        conn.prepare_cached(&self.now)?
            .query_row([], |row| row.get(0))
    }

    /// The statements that list messages.
    pub(crate) fn listing(&self) -> Listing<'_> {
        Listing {
            open: &self.list_open,
            logged: self.log.as_ref().map(|log| &log.list),
            all: &self.list_all,
        }
    }

    /// The statements that pick messages.
    pub(crate) fn picking(&self) -> Listing<'_> {
        Listing {
            open: &self.pick_open,
            logged: self.log.as_ref().map(|log| &log.pick),
            all: &self.pick_all,
        }
    }

    /// Every statement, for a check that all can be prepared.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        [
            &self.now,
            &self.version,
            &self.meta,
            &self.register,
            &self.renew,
            &self.is_alive,
            &self.expire,
            &self.members,
            &self.width,
            &self.free,
            &self.take,
            &self.give_back,
            &self.leave,
            &self.holds,
            &self.scan_pending,
            &self.scan_due,
            &self.row,
            &self.front,
            &self.next_waiting_key,
            &self.release_key,
            &self.key,
            &self.set_aside,
            &self.done,
            &self.retry,
            &self.dead,
            &self.mark,
            &self.standing,
            &self.insert,
            &self.insert_content,
            &self.insert_id,
            &self.backlog,
            &self.halted_keys,
            &self.slots,
            &self.instances,
            &self.list_all,
            &self.get,
            &self.pick_all,
            &self.pick_id,
            &self.pick_published,
            &self.done_behind,
            &self.next_replay,
            &self.replay,
            &self.discard,
            &self.progress,
            &self.purge,
            &self.purge_ids,
        ]
        .into_iter()
        .chain(&self.count)
        .chain(&self.list_open)
        .chain(&self.pick_open)
        .map(String::as_str)
        .chain(self.log.iter().flat_map(LogSql::all))
    }
}

/// The statements of a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    /// One for each state that is not settled.
    pub(crate) open: &'a [String; 4],
    /// One for the logged rows that are pending.
    pub(crate) logged: Option<&'a String>,
    /// One over all rows.
    pub(crate) all: &'a str,
}

/// The states that are not settled, each with its index.
pub(crate) const OPEN: [(State, &str); 4] = [
    (State::Pending, "{p}outbox_pending"),
    (State::Retrying, "{p}outbox_due"),
    (State::Waiting, "{p}outbox_waiting"),
    (State::Dead, "{p}outbox_dead"),
];

/// Fills in the clock, the blockers and the prefix.
pub(crate) fn fill(text: &str, prefix: &Ident) -> String {
    text.replace("{now}", NOW)
        .replace("{blocks}", BLOCKS)
        .replace("{p}", prefix.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, migration_sql};

    fn plan(conn: &Connection, statement: &str) -> String {
        let mut explain = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .expect(statement);
        // The plan does not depend on the parameters.
        let lines = explain.raw_query().mapped(|row| row.get::<_, String>(3));
        let lines: Vec<_> = lines.collect::<Result<_, _>>().expect("a plan");
        lines.join("; ")
    }

    #[test]
    fn no_statement_reads_the_outbox_without_an_index() {
        let conn = Connection::open_in_memory().expect("a database");
        let config = Config::new("unused.db");
        conn.execute_batch(&migration_sql(&config)).expect("tables");
        for shelf in shelves() {
            let sql = Sql::new(&config.prefix, shelf);
            for statement in sql.all() {
                let plan = plan(&conn, statement);
                for step in plan.split("; ") {
                    let reads_all = step.starts_with("SCAN")
                        && (step.contains("outbox") || step.contains("inbox"))
                        && !step.contains("USING");
                    assert!(!reads_all, "{statement}: {plan}");
                }
            }
        }
    }

    #[test]
    fn the_scans_of_a_fetch_read_an_index_in_order() {
        let conn = Connection::open_in_memory().expect("a database");
        let config = Config::new("unused.db");
        conn.execute_batch(&migration_sql(&config)).expect("tables");
        for shelf in shelves() {
            let sql = Sql::new(&config.prefix, shelf);
            for (statement, covering) in [
                (&sql.scan_pending, true),
                (&sql.scan_due, true),
                (&sql.next_waiting_key, true),
                (&sql.front, false),
                (&sql.row, false),
                (&sql.purge, false),
                (&sql.purge_ids, true),
                (&sql.backlog, true),
            ] {
                let plan = plan(&conn, statement);
                assert!(!plan.contains("TEMP B-TREE"), "{statement}: {plan}");
                assert_eq!(plan.contains("COVERING"), covering, "{statement}: {plan}");
            }
        }
    }

    fn shelves() -> [Shelf; 2] {
        let queue = String::from("inbox/a");
        let handler = Some(3);
        [Shelf::outbox(), Shelf { queue, handler }]
    }
}
