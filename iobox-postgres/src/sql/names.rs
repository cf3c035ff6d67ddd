//! The names: schema, tables, and the lock and the channel that are derived from them.

use crate::{Config, ident::Ident};

/// What can stand in braces in a statement for the qualified and quoted name of it.
const OBJECTS: [&str; 9] = [
    "message",
    "partition",
    "instance",
    "meta",
    "migration",
    "id",
    "clock",
    "message_seq",
    "replay_seq",
];

/// Whether the row `b` blocks later rows of its key: word for word the predicate of the index
/// `message_blocker`, so that the planner may use it.
const BLOCKS: &str = "b.key is not null and (b.state in (1, 2) or (b.state = 3 and b.halts))";

/// The names of one store.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    schema: Ident,
    prefix: String,
    /// The advisory lock K: shared by writers in flight, exclusive by an instance that sleeps.
    pub(crate) wake_key: i64,
    /// The advisory lock of migrations.
    pub(crate) migrate_key: i64,
    /// The seed of the advisory locks of ordering keys.
    order_seed: i64,
    /// The channel that wakes an instance that sleeps.
    pub(crate) channel: String,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        let schema = config.schema.clone();
        let prefix = config.prefix.as_ref().map_or("", Ident::as_str).to_owned();
        let derive = |purpose: &str| hash(&format!("iobox {purpose} \"{schema}\".\"{prefix}\""));
        Self {
            wake_key: signed(derive("wake outbox")),
            migrate_key: signed(derive("migrate")),
            order_seed: signed(derive("order")),
            channel: format!("iobox_{:016x}", derive("wake outbox")),
            schema,
            prefix,
        }
    }

    /// Puts the names into a statement.
    pub(crate) fn fill(&self, template: &str) -> String {
        let mut text = template
            .replace("{{schema}}", self.schema.as_str())
            .replace("{{prefix}}", &self.prefix)
            .replace("{{channel}}", &self.channel)
            .replace("{{wake_key}}", &self.wake_key.to_string())
            .replace("{{migrate_key}}", &self.migrate_key.to_string())
            .replace("{{order_seed}}", &self.order_seed.to_string())
            .replace("{blocks}", BLOCKS);
        for object in OBJECTS {
            let name = format!("\"{}\".\"{}{object}\"", self.schema, self.prefix);
            text = text.replace(&format!("{{{object}}}"), &name);
        }
        text
    }
}

/// FNV-1a: the same in every version of the program, and spread well enough for lock numbers.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const fn signed(hash: u64) -> i64 {
    i64::from_ne_bytes(hash.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qualified_and_quoted() {
        let config = Config::builder().schema("s").table_prefix("p_").build();
        let names = Names::new(&config.unwrap());
        assert_eq!(
            names.fill("{message} {id}"),
            r#""s"."p_message" "s"."p_id""#
        );
    }

    #[test]
    fn other_tables_have_another_lock_and_channel() {
        let names = |schema: &str, prefix: &str| {
            let config = Config::builder()
                .schema(schema)
                .table_prefix(prefix)
                .build();
            Names::new(&config.unwrap())
        };
        let (one, two, three) = (names("a", "bc"), names("ab", "c"), names("a", "bd"));
        assert_ne!(one.wake_key, two.wake_key);
        assert_ne!(one.wake_key, three.wake_key);
        assert_ne!(one.channel, two.channel);
        assert_ne!(one.wake_key, one.migrate_key);
        // Never to change: programs of different versions meet at this lock.
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
