//! The tables of go-iobox, made by its own DDL in the schema of a test.

use iobox_core::inbox::SourceName;
use iobox_postgres::MoveIn;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{Schema, connection, number, run};

/// The tables, as go-iobox's migrations make them.
const TABLES: &str = "
create table {s}.__outbox_table (
  id varchar(36) not null primary key,
  status varchar(12),
  event_type varchar(255) not null,
  payload jsonb not null,
  created_at timestamp not null default (now() at time zone 'utc'),
  updated_at timestamp not null default (now() at time zone 'utc')
);
create table {s}.__inbox_table (
  id varchar(36) not null,
  status varchar(12),
  event_type varchar(255) not null,
  handler_key varchar(255) not null,
  payload bytea not null default '{}'::bytea,
  created_at timestamp not null default (now() at time zone 'utc'),
  updated_at timestamp not null default (now() at time zone 'utc')
);
create unique index __inbox_uniq_id_handler_key_idx on {s}.__inbox_table (id, handler_key);
alter table {s}.__inbox_table
  add column attempt smallint not null default 0,
  add column error_message text,
  add column next_attempt timestamp;
";

/// The two tables, and a connection of whoever uses them.
pub(crate) struct Ancestor {
    schema: String,
    pub(crate) person: PgConnection,
}

impl Ancestor {
    pub(crate) async fn new(schema: &Schema) -> Self {
        let mut ancestor = Self::of(schema).await;
        ancestor.run(TABLES).await;
        ancestor
    }

    /// Another connection to the tables.
    pub(crate) async fn of(schema: &Schema) -> Self {
        Self {
            schema: schema.0.clone(),
            person: connection().await,
        }
    }

    /// The options that move from here.
    pub(crate) fn options(&self) -> MoveIn {
        MoveIn::new(SourceName::new("shop").expect("a source")).schema(&self.schema)
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{s}", &format!("\"{}\"", self.schema))
    }

    /// Runs statements with `{s}` for the schema.
    pub(crate) async fn run(&mut self, sql: &str) {
        let sql = self.fill(sql);
        run(&mut self.person, sql).await;
    }

    /// The number that a statement returns.
    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let sql = self.fill(sql);
        number(&mut self.person, sql).await
    }

    /// The texts that a statement returns.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let sql = self.fill(sql);
        let rows = sqlx::query(AssertSqlSafe(sql.clone()))
            .fetch_all(&mut self.person)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Writes a message to publish as go-iobox does.
    pub(crate) async fn write_outbox(&mut self, id: &str, topic: &str) {
        let sql = self.fill(
            "insert into {s}.__outbox_table (id, event_type, payload) values ($1, $2, $3::jsonb)
             on conflict do nothing",
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(topic)
            .bind(format!("{{\"id\":  \"{id}\"}}"))
            .execute(&mut self.person)
            .await
            .expect("a message to publish");
    }

    /// Writes a received message for a handler as go-iobox does.
    pub(crate) async fn write_inbox(&mut self, id: &str, topic: &str, handler: &str) {
        let sql = self.fill(
            "insert into {s}.__inbox_table (id, event_type, handler_key, payload)
             values ($1, $2, $3, $4) on conflict (id, handler_key) do nothing",
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(topic)
            .bind(handler)
            .bind(id.as_bytes())
            .execute(&mut self.person)
            .await
            .expect("a received message");
    }
}
