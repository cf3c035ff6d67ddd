//! Grants: what each kind of program needs of the tables, and no more.

use iobox_core::{Error, Result};

use crate::{Config, PostgresStore, sql::Names};

/// What a database role does with the tables of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Duty {
    /// Enqueues, by the library or by the SQL function. It can read no message, not even its own.
    Write,
    /// Enqueues, runs relays and inboxes, and does what [`Admin`](iobox_core::store::Admin) can.
    Work,
    /// Looks at messages without payloads and headers, by the view `outbox`, and at who works on what.
    View,
}

impl PostgresStore {
    /// The script that lets the database role `role` do a duty with the tables, for their owner to run behind
    /// each migration. It may be run again, and takes nothing back.
    ///
    /// Nothing in it lets a role change the tables themselves: [`migrate`](Self::migrate), and the script of
    /// [`migration_sql`](Self::migration_sql), are for a role that owns them and runs nothing else.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when `role` cannot be the name of one: 1 to 63 bytes without
    /// NUL, and neither `public`, which is everybody, nor `none`. Whether it is there the server says.
    pub fn grants_sql(config: &Config, duty: Duty, role: &str) -> Result<String> {
        if !(1..=63).contains(&role.len()) || role.contains('\0') {
            return Err(Error::invalid(
                "the name of a database role has 1 to 63 bytes, and no NUL",
            ));
        }
        if matches!(role, "public" | "none") {
            return Err(Error::invalid(
                "public and none are no database roles: name the one that the program logs in as",
            ));
        }
        let role = format!("\"{}\"", role.replace('"', "\"\""));
        let grants = match duty {
            Duty::Write => [FUNCTION, WRITE].concat(),
            Duty::Work => [FUNCTION, WORK].concat(),
            Duty::View => VIEW.to_owned(),
        };
        // The role comes last: what stands in its name is no name of ours.
        let script = Names::new(config).fill(&format!("{ALL}{grants}"));
        Ok(script.replace("{{role}}", &role))
    }
}

/// Every duty: the tables are found, and their version is read.
const ALL: &str = r#"grant usage on schema "{{schema}}" to {{role}};
grant select on {meta}, {migration} to {{role}};
grant execute on function {clock}() to {{role}};
"#;

/// The SQL function, and what it calls.
const FUNCTION: &str = r#"grant execute on function
  "{{schema}}"."{{prefix}}enqueue"(text, text, bytea, jsonb, text),
  "{{schema}}"."{{prefix}}check_text"(text, text),
  "{{schema}}"."{{prefix}}check_headers"(jsonb)
  to {{role}};
"#;

const WRITE: &str = r#"grant insert (partition, id, topic, key, headers, payload, size, enqueued_at)
  on {message} to {{role}};
grant insert, select (id) on {id} to {{role}};
grant usage on sequence {message_seq} to {{role}};
"#;

const WORK: &str = r#"grant select, insert, update, delete
  on {message}, {id}, {cursor}, {settled}, {partition}, {instance},
    {handler}, {subscription}, {routing}, {received}, {inbox}, {admitted}, {source}
  to {{role}};
grant usage
  on sequence {message_seq}, {replay_seq}, {received_seq}, "{{schema}}"."{{prefix}}inbox_seq"
  to {{role}};
grant execute on function {timeline}() to {{role}};
"#;

const VIEW: &str = r#"grant select
  on "{{schema}}"."{{prefix}}outbox", {cursor}, {partition}, {instance}, {handler}, {subscription}, {source}
  to {{role}};
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::builder().build().expect("the defaults build")
    }

    #[test]
    fn a_role_is_quoted_and_what_stands_in_its_name_stays() {
        let role = "a \"{message}\"; drop";
        let script = PostgresStore::grants_sql(&config(), Duty::View, role).expect("a script");
        let quoted = "to \"a \"\"{message}\"\"; drop\";";
        assert_eq!(script.matches(quoted).count(), 4, "{script}");
        assert!(!script.contains("{{"), "{script}");
    }

    #[test]
    fn what_cannot_be_a_role_is_refused() {
        for role in ["", "a\0b", &"a".repeat(64), "public", "none"] {
            let error = PostgresStore::grants_sql(&config(), Duty::Write, role);
            assert!(error.is_err(), "{role:?}");
        }
    }
}
