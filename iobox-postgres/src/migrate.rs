//! Migrations: the tables, their versions, and the script that makes them.
//!
//! There is one way to migrate, the script of [`migration_sql`](PostgresStore::migration_sql): one
//! transaction, under an advisory lock, that may be run again. [`migrate`](PostgresStore::migrate)
//! sends it; people who run DDL themselves give it to psql.

use std::fmt::Write as _;

use iobox_core::{Error, Result, message::Origin, partition::Partitions, store::StoreInfo};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::{
    Config, PostgresStore,
    error::{RUN_MIGRATE, from_sqlx},
    pool::Connector,
    sql::{AdminSql, Names, Statement},
};

/// The migrations in order; the version is the place in the list, from 1. Text of a version that
/// was released never changes.
const MIGRATIONS: [(&str, &str); 6] = [
    ("outbox", include_str!("../migrations/0001_outbox.sql")),
    ("enqueue", include_str!("../migrations/0002_enqueue.sql")),
    ("inbox", include_str!("../migrations/0003_inbox.sql")),
    ("ingest", include_str!("../migrations/0004_ingest.sql")),
    ("log", include_str!("../migrations/0005_log.sql")),
    ("timeline", TIMELINE),
];

/// What tells the timeline of the server; of the sixth version, and made anew by every migration.
const TIMELINE: &str = include_str!("../migrations/0006_timeline.sql");

/// The version that this program knows.
pub(crate) const VERSION: usize = MIGRATIONS.len();

impl PostgresStore {
    /// Makes or updates the tables.
    ///
    /// Runs in one transaction on a connection of its own: it happens as a whole or not at all, and
    /// any number of programs may call it at once. The first one fixes the number of partitions and
    /// draws the origin. When this future is dropped the migration goes on to its end.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when the tables are newer than this program, have
    /// another number of partitions, or the role may not make them.
    pub async fn migrate(&self) -> Result<()> {
        let connector = self.connector().patient();
        let script = script(self.config());
        let running = tokio::spawn(async move { run(&connector, &script).await });
        running
            .await
            .map_err(|source| Error::internal("migrating panicked").with_source(source))??;
        self.verify().await.map(drop)
    }

    /// Verifies that the tables are there, of the version that this program knows, and of the
    /// configured partition count. Changes nothing.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when they are not; the message says what to do.
    pub async fn verify(&self) -> Result<StoreInfo> {
        let row = self
            .sql()
            .admin
            .meta
            .query()
            .fetch_one(self.pool())
            .await
            .map_err(|source| match source {
                sqlx::Error::RowNotFound => Error::invalid(RUN_MIGRATE),
                other => from_sqlx("reading the version of the tables", other),
            })?;
        let found = Found::read(&row)?;
        found.check(self.config().partitions)
    }

    /// The script that makes or updates the tables, for people who run DDL themselves.
    ///
    /// It is one transaction, may be run again, and refuses what [`migrate`](Self::migrate) refuses.
    #[must_use]
    pub fn migration_sql(config: &Config) -> String {
        script_text(config, &Names::new(config))
    }
}

async fn run(connector: &Connector, script: &Statement) -> Result<()> {
    let mut connection: PgConnection = connector.connect().await?;
    let migrated = script
        .raw()
        .execute(&mut connection)
        .await
        .map_err(|source| from_sqlx("migrating", source));
    // After an error the transaction is still open: closing the connection rolls it back.
    match migrated {
        Ok(_) => connection
            .close()
            .await
            .map_err(|source| from_sqlx("closing a connection", source)),
        Err(error) => {
            drop(connection);
            Err(error)
        }
    }
}

/// What the tables say of themselves.
struct Found {
    origin: String,
    partitions: i16,
    version: Option<i32>,
    native: bool,
    encoding: String,
}

impl Found {
    fn read(row: &sqlx::postgres::PgRow) -> Result<Self> {
        let reading = |source| from_sqlx("reading the version of the tables", source);
        Ok(Self {
            origin: row.try_get(0).map_err(reading)?,
            partitions: row.try_get(1).map_err(reading)?,
            version: row.try_get(2).map_err(reading)?,
            native: row.try_get(3).map_err(reading)?,
            encoding: row.try_get(4).map_err(reading)?,
        })
    }

    fn check(self, configured: Partitions) -> Result<StoreInfo> {
        let version = self
            .version
            .and_then(|version| usize::try_from(version).ok())
            .ok_or_else(|| Error::invalid(RUN_MIGRATE))?;
        if version < VERSION {
            return Err(Error::invalid(format!(
                "the tables have version {version} and this program needs {VERSION}: run migrate, \
                 or have the script of PostgresStore::migration_sql run"
            )));
        }
        if version > VERSION {
            return Err(Error::invalid(format!(
                "the tables have version {version}, newer than the {VERSION} that this program \
                 knows: update the program"
            )));
        }
        if !self.native {
            return Err(Error::invalid(
                "the tables come from another cluster of Postgres, whose transactions their log speaks \
                 of: run migrate, or have the script of PostgresStore::migration_sql run, once and \
                 while no relay runs",
            ));
        }
        if i32::from(self.partitions) != i32::from(configured.count()) {
            return Err(Error::invalid(format!(
                "the tables have {} partitions and the configuration says {}: set what the tables \
                 have; the number is fixed",
                self.partitions,
                configured.count()
            )));
        }
        if self.encoding != "UTF8" {
            return Err(Error::invalid(format!(
                "the database has the encoding {}; UTF8 is needed",
                self.encoding
            )));
        }
        let origin = Uuid::parse_str(&self.origin).map_err(|source| {
            Error::corrupt("the origin of the tables is not a UUID").with_source(source)
        })?;
        Ok(StoreInfo {
            origin: Origin::new(origin),
            partitions: configured,
        })
    }
}

fn script(config: &Config) -> Statement {
    let names = Names::new(config);
    AdminSql::script(&names, &script_text(config, &names))
}

fn script_text(config: &Config, names: &Names) -> String {
    let mut text = String::from(HEAD);
    for (at, (name, statements)) in MIGRATIONS.iter().enumerate() {
        let version = at + 1;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "
-- Version {version}: {name}.
do $iobox$
begin
  if exists (select from {{migration}} where version = {version}) then
    return;
  end if;
{statements}
  insert into {{migration}} (version, name) values ({version}, '{name}');
end
$iobox$;
"
        );
    }
    text.push_str(&TAIL.replace("{{timeline_of_this_server}}", TIMELINE));
    let filled = names.fill(&text);
    filled
        .replace("{{version}}", &VERSION.to_string())
        .replace("{{partitions}}", &config.partitions.count().to_string())
        .replace("{{payload_max}}", &config.limits.payload_max().to_string())
        .replace("{{wake_up}}", if config.wake_up { "true" } else { "false" })
}

const HEAD: &str = r#"-- iobox: the tables of schema "{{schema}}", prefix "{{prefix}}". May be run again.
begin isolation level read committed;
set local search_path = '';
set local client_min_messages = warning;

-- One migration at a time.
do $iobox$
begin
  perform pg_catalog.pg_advisory_xact_lock({{migrate_key}});
end
$iobox$;

do $iobox$
begin
  if pg_catalog.current_setting('server_encoding') <> 'UTF8' then
    raise exception 'the database has the encoding %; UTF8 is needed',
      pg_catalog.current_setting('server_encoding') using errcode = '55000';
  end if;
  if not exists (select from pg_catalog.pg_namespace where nspname = '{{schema}}') then
    create schema "{{schema}}";
  end if;
  create table if not exists {migration} (
    version integer not null,
    name text not null,
    applied_at timestamptz not null default pg_catalog.now(),
    constraint "{{prefix}}migration_pkey" primary key (version)
  );
  if exists (select from {migration} where version > {{version}}) then
    raise exception 'the tables have version %, newer than the {{version}} that this program knows',
      (select max(version) from {migration}) using errcode = '55000';
  end if;
end
$iobox$;
"#;

const TAIL: &str = r#"
-- What the SQL function must know of the settings.
do $iobox$
begin
  if exists (select from {meta} where partitions <> {{partitions}}) then
    raise exception 'the tables have % partitions and the configuration says {{partitions}}',
      (select partitions from {meta}) using errcode = '55000';
  end if;
  update {meta} set payload_max = {{payload_max}}, wake_up = {{wake_up}}
    where payload_max <> {{payload_max}} or wake_up <> {{wake_up}};
end
$iobox$;

do $iobox$
begin
{{timeline_of_this_server}}end
$iobox$;

-- Tables that were restored into another cluster: what their log and cursors say of transactions is put
-- into the terms of this one. What was pending leaves the log, and what was done is visible to everybody.
-- Epochs are of the timeline of this cluster, be it lower.
do $iobox$
declare
  here bigint := (select system_identifier from pg_catalog.pg_control_system());
begin
  if exists (select from {meta} where cluster <> here) then
    update {message} as m set
      state = case
        when {parked} then 2
        when m.seq = any (c.ahead) then 4
        when m.seq = any (c.behind) then 0
        when m.seq <= c.upto and not pg_catalog.pg_visible_in_snapshot(m.xid, c.seen) then 0
        else 6 end,
      attempt = case when m.seq = any (c.ahead) then 1 else m.attempt end,
      settled_at = case when m.seq = any (c.ahead) then {clock}() end,
      xid = '3'
    from {cursor} as c
    where c.partition = m.partition and m.state = 6;
    update {cursor} set seen = pg_catalog.pg_current_snapshot(), ahead = '{}', ahead_xids = '{}',
      behind = '{}', parked_keys = '{}', parked_first = '{}', parked_last = '{}';
    update {partition} set epoch = (epoch & 4294967295) + (({timeline}() - 1) << 32);
  end if;
  update {meta} set cluster = here where cluster is distinct from here;
end
$iobox$;
commit;
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_no_holes() {
        let config = Config::builder().schema("a").table_prefix("b_").build();
        let text = PostgresStore::migration_sql(&config.unwrap());
        assert!(!text.contains("{{"), "{text}");
        assert!(!text.contains("{m"), "{text}");
        assert!(text.contains("\"a\".\"b_message\""));
        assert!(text.starts_with("-- iobox") && text.ends_with("commit;\n"));
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        let found = |version, partitions, encoding: &str| Found {
            origin: String::from("0192f0c1-0000-7000-8000-000000000000"),
            partitions,
            version,
            native: true,
            encoding: encoding.to_owned(),
        };
        let version = i32::try_from(VERSION).unwrap();
        let check = |found: Found| found.check(Partitions::DEFAULT).map_err(|e| e.to_string());
        assert!(check(found(Some(version), 16, "UTF8")).is_ok());
        for (found, text) in [
            (found(None, 16, "UTF8"), "run migrate"),
            (found(Some(version - 1), 16, "UTF8"), "run migrate"),
            (found(Some(version + 1), 16, "UTF8"), "newer"),
            (
                found(Some(version), 8, "UTF8"),
                "8 partitions and the configuration says 16",
            ),
            (found(Some(version), 16, "SQL_ASCII"), "UTF8"),
        ] {
            let error = check(found).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
