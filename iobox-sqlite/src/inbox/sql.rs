//! Every statement of the inbox that the queues of handlers do not share with the outbox.

use crate::{ident::Ident, sql::fill};

/// The statements of one table prefix.
#[derive(Debug)]
pub(crate) struct InboxSql {
    pub(super) add_handler: String,
    pub(super) handler: String,
    pub(super) add_partitions: String,
    pub(super) add_subscription: String,
    pub(super) retire: String,
    pub(super) subscriptions: String,
    pub(super) kept_topics: String,
    pub(super) kept: String,
    pub(super) route: String,
    pub(super) receive: String,
    pub(super) give: String,
    pub(super) unrouted: String,
    pub(super) forget: String,
    pub(super) forget_unrouted: String,
    pub(super) forget_admitted: String,
    pub(super) admit: String,
    pub(super) position: String,
    pub(super) move_position: String,
}

impl InboxSql {
    /// Builds the statements for tables whose names start with `prefix`.
    pub(crate) fn new(prefix: &Ident) -> Self {
        let q = |text: &str| fill(text, prefix);
        Self {
            add_handler: q("INSERT INTO {p}handler (name) VALUES (?1) ON CONFLICT DO NOTHING"),
            // The unique index of the name.
            handler: q("SELECT number FROM {p}handler WHERE name = ?1"),
            add_partitions: q("WITH RECURSIVE n (partition) AS (SELECT 0 UNION ALL \
                 SELECT partition + 1 FROM n WHERE partition + 1 < ?2) \
                 INSERT INTO {p}partition (queue, partition) SELECT ?1, partition FROM n \
                 WHERE true ON CONFLICT DO NOTHING"),
            add_subscription: q(
                "INSERT INTO {p}subscription (pattern, handler) VALUES (?1, ?2) \
                 ON CONFLICT DO NOTHING",
            ),
            // One row for each subscription; there are few.
            retire: q("DELETE FROM {p}subscription \
                 WHERE handler = (SELECT number FROM {p}handler WHERE name = ?1)"),
            subscriptions: q("SELECT s.pattern, h.name, h.number FROM {p}subscription s \
                 JOIN {p}handler h ON h.number = s.handler"),
            // Index received_unrouted.
            kept_topics: q(
                "SELECT DISTINCT topic FROM {p}received INDEXED BY {p}received_unrouted \
                 WHERE unrouted = 1",
            ),
            // Index received_unrouted; in the order in which they were received.
            kept: q(
                "SELECT seq, id, topic, key, size, received_at FROM {p}received \
                 INDEXED BY {p}received_unrouted WHERE unrouted = 1 AND topic = ?1 ORDER BY seq",
            ),
            route: q("UPDATE {p}received SET unrouted = 0 WHERE seq = ?1"),
            // The unique index (source, origin, id).
            receive: q(
                "INSERT INTO {p}received (source, origin, id, topic, key, size, received_at, \
                 occurred_at, unrouted, headers, payload) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
            ),
            // The rows of a message stand where it was received, also when they are given later: its seq,
            // and behind that the number of the handler.
            give: q(
                "INSERT INTO {p}inbox (seq, partition, message, id, topic, key, size, enqueued_at) \
                 VALUES ((?2 << 20) + (?1 >> 8), ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            ),
            // Index received_unrouted.
            unrouted: q(
                "SELECT count(*) FROM {p}received INDEXED BY {p}received_unrouted \
                 WHERE unrouted = 1",
            ),
            // Index received_at, oldest first; index inbox_message for the rows.
            forget: q(
                "DELETE FROM {p}received WHERE seq IN (SELECT seq FROM {p}received r \
                 INDEXED BY {p}received_at WHERE unrouted = 0 AND received_at < {now} - ?1 \
                 AND NOT EXISTS (SELECT 1 FROM {p}inbox i INDEXED BY {p}inbox_message \
                 WHERE i.message = r.seq) ORDER BY received_at LIMIT ?2)",
            ),
            // Index received_unrouted, oldest first.
            forget_unrouted: q(
                "DELETE FROM {p}received WHERE seq IN (SELECT seq FROM {p}received \
                 INDEXED BY {p}received_unrouted WHERE unrouted = 1 AND received_at < {now} - ?1 \
                 ORDER BY received_at LIMIT ?2)",
            ),
            // Index admitted_at, oldest first.
            forget_admitted: q(
                "DELETE FROM {p}admitted WHERE (source, handler, origin, id) IN \
                 (SELECT source, handler, origin, id FROM {p}admitted INDEXED BY {p}admitted_at \
                 WHERE admitted_at < {now} - ?1 ORDER BY admitted_at LIMIT ?2)",
            ),
            admit: q(
                "INSERT INTO {p}admitted (source, handler, origin, id, admitted_at) \
                 VALUES (?1, ?2, ?3, ?4, {now}) ON CONFLICT DO NOTHING",
            ),
            // The primary key.
            position: q("SELECT position FROM {p}source WHERE name = ?1"),
            move_position: q(
                "INSERT INTO {p}source (name, position, moved_at) VALUES (?1, ?2, {now}) \
                 ON CONFLICT (name) DO UPDATE SET position = excluded.position, \
                 moved_at = excluded.moved_at",
            ),
        }
    }

    /// Every statement, for a check that all can be prepared.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        [
            &self.add_handler,
            &self.handler,
            &self.add_partitions,
            &self.add_subscription,
            &self.retire,
            &self.subscriptions,
            &self.kept_topics,
            &self.kept,
            &self.route,
            &self.receive,
            &self.give,
            &self.unrouted,
            &self.forget,
            &self.forget_unrouted,
            &self.forget_admitted,
            &self.admit,
            &self.position,
            &self.move_position,
        ]
        .into_iter()
        .map(String::as_str)
    }
}
