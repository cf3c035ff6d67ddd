//! The options of a move: which tables, and how their rows are read.

use iobox_core::{Error, Result, inbox::SourceName};

use crate::ident::Ident;

/// The most rows of one transaction.
const BATCH_MAX: u32 = 10_000;
/// The longest name of a time zone, in bytes.
const ZONE_MAX: usize = 64;

/// What [`PostgresStore::move_in`](crate::PostgresStore::move_in) moves, and how.
///
/// Every setting has a default; `move_in` checks all of them.
#[derive(Debug, Clone)]
#[must_use]
pub struct MoveIn {
    pub(super) source: SourceName,
    schema: String,
    outbox_table: String,
    inbox_table: String,
    pub(super) time_zone: String,
    pub(super) batch: u32,
    pub(super) takes_progress: bool,
    pub(super) keeps_order: bool,
}

impl MoveIn {
    /// Moves both tables from the schema `public`. `source` is the source of the received messages: the
    /// name under which the same messages are received from now on, so that a redelivery of one that
    /// go-iobox stored is a duplicate.
    pub fn new(source: SourceName) -> Self {
        Self {
            source,
            schema: "public".into(),
            outbox_table: "__outbox_table".into(),
            inbox_table: "__inbox_table".into(),
            time_zone: "UTC".into(),
            batch: 1_000,
            takes_progress: true,
            keeps_order: true,
        }
    }

    /// The schema of both tables. Default `public`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// The name of the table of outgoing messages. Default `__outbox_table`.
    pub fn outbox_table(mut self, name: impl Into<String>) -> Self {
        self.outbox_table = name.into();
        self
    }

    /// The name of the table of received messages. Default `__inbox_table`.
    pub fn inbox_table(mut self, name: impl Into<String>) -> Self {
        self.inbox_table = name.into();
        self
    }

    /// The time zone of the timestamps, which have none of their own. Default `UTC`, in which go-iobox
    /// writes all but the event dates that its caller gave in another zone.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = name.into();
        self
    }

    /// The most rows of one transaction; it is also bounded to about 8 MiB of payloads. Default 1,000; 1
    /// to 10,000.
    pub const fn batch(mut self, rows: u32) -> Self {
        self.batch = rows;
        self
    }

    /// Whether rows in the status `progress` are moved. Default: they are, as pending messages with an
    /// unknown outcome. Nobody knows whether they were published or handled, so that copies are possible;
    /// without it they stay where they are and are reported.
    pub const fn take_progress(mut self, takes: bool) -> Self {
        self.takes_progress = takes;
        self
    }

    /// Whether outgoing messages get their event type as ordering key, so that those of one event type
    /// are published one after the other in the order of their times. Default: they do, as go-iobox
    /// publishes. Without it they have no key and are published side by side.
    pub const fn keep_order(mut self, keeps: bool) -> Self {
        self.keeps_order = keeps;
        self
    }

    /// The quoted names of the tables, outbox and inbox, and the check of everything else.
    pub(super) fn check(&self) -> Result<[String; 2]> {
        let schema = Ident::new("schema", self.schema.as_str())?;
        let outbox = Ident::new("outbox_table", self.outbox_table.as_str())?;
        let inbox = Ident::new("inbox_table", self.inbox_table.as_str())?;
        if self.batch == 0 || self.batch > BATCH_MAX {
            return Err(Error::invalid(format!(
                "batch is {}; it needs 1 to {BATCH_MAX}",
                self.batch
            )));
        }
        let zone = &self.time_zone;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '+' | '-');
        if zone.is_empty() || zone.len() > ZONE_MAX || !zone.chars().all(allowed) {
            return Err(Error::invalid(format!(
                "time_zone needs 1 to {ZONE_MAX} of A-Z a-z 0-9 _ / + -, as in Europe/Berlin"
            )));
        }
        Ok([outbox, inbox].map(|table| format!("\"{schema}\".\"{table}\"")))
    }
}
