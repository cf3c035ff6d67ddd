//! The names: schema, tables, and the lock and the channel that are derived from them.

use iobox_core::{inbox::SourceName, partition::Partition, queue::Queue};

use crate::{Config, ident::Ident};

/// What can stand in braces in a statement for the qualified and quoted name of it.
const OBJECTS: [&str; 20] = [
    "message",
    "partition",
    "instance",
    "meta",
    "migration",
    "id",
    "clock",
    "timeline",
    "message_seq",
    "replay_seq",
    "handler",
    "subscription",
    "routing",
    "received",
    "received_seq",
    "inbox",
    "admitted",
    "source",
    "cursor",
    "settled",
];

/// Whether the row `b` blocks later rows of its key: word for word the predicate of the index
/// `message_blocker`, so that the planner may use it.
const BLOCKS: &str = "b.key is not null and (b.state in (1, 2) or (b.state = 3 and b.halts))";

/// The highest epoch that may be of an earlier timeline of the server: the high half of an epoch is the
/// timeline under which it was given, counted from 0. Read once in a statement.
const PAST: &str = "(((select {timeline}()) - 1) << 32)";

/// The fence: the partitions that the caller holds. `$1` queue, `$2` partitions, `$3` the epochs under
/// which the caller holds them.
///
/// Locks the partition rows FOR SHARE in order, the order of acquisition, before any message is
/// changed: the changes read its result. A row that an acquisition was changing is waited for and
/// checked again, and falls out when its epoch is another one now.
///
/// A caller whose epoch is [`PAST`] holds nothing: what it has at hand may be lost, and others may have its
/// numbers by now.
const FENCE: &str = "fence as materialized (
  select p.partition from {partition} as p
  join unnest($2::smallint[], $3::bigint[]) as h (partition, epoch)
    on h.partition = p.partition and h.epoch = p.epoch
  where p.queue = $1 and p.owner <> '00000000-0000-0000-0000-000000000000'
    and p.epoch > {past}
  order by p.partition
  for share of p
)";

/// The fence of one partition, by the same locks: `$1` queue, `$2` partition, `$3` the epoch under which
/// the caller holds it.
const FENCE_OF_ONE: &str = "fence as materialized (
  select p.partition from {partition} as p
  where p.queue = $1 and p.partition = $2 and p.epoch = $3
    and p.owner <> '00000000-0000-0000-0000-000000000000'
    and p.epoch > {past}
  for share of p
)";

/// Which rows the statements are about. All handlers share the table `inbox`; the rows of handler `n`
/// have the partitions from `256 * n` on, in the table of partitions too, those of the outbox the
/// partitions as they are. The right to read a source has a partition below 0, and no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shelf {
    /// The name of the queue.
    pub(crate) queue: String,
    /// The number of its first partition: 0 for the outbox, below it for a source.
    pub(crate) base: i16,
}

impl Shelf {
    /// The most handlers that were ever subscribed, so that the last partition is a smallint.
    pub(crate) const HANDLERS_MAX: i16 = 127;

    /// The rows of the outbox.
    pub(crate) fn outbox() -> Self {
        Self {
            queue: Queue::Outbox.name().to_owned(),
            base: 0,
        }
    }

    /// The right to read a source.
    pub(crate) fn source(name: &SourceName) -> Self {
        Self {
            queue: Queue::Ingest(name.clone()).name().to_owned(),
            base: -256,
        }
    }

    /// Whether the rows are a [log](super::log).
    pub(crate) const fn is_log(&self) -> bool {
        self.base == 0
    }

    /// The number of a partition in the tables.
    pub(crate) fn number(&self, partition: Partition) -> i16 {
        self.base + i16::from(partition.number())
    }

    /// Fills in what the rows differ in: `{own}` the condition that a row is one of them, `{content}`
    /// the columns headers, payload and origin, `{with_content}` the join that has them.
    fn place(&self, template: &str) -> String {
        let template = super::log::place(self, template);
        if self.is_log() {
            return template
                .replace("{own}", "")
                .replace("{content}", "m.headers, m.payload, null::text")
                .replace("{with_content}", "");
        }
        let (first, last) = (self.base, self.base + 255);
        template
            .replace(
                "{own}",
                &format!(" and partition between {first} and {last}"),
            )
            .replace("{content}", "c.headers, c.payload, c.origin::text")
            .replace(
                "{with_content}",
                "left join {received} as c on c.seq = m.message",
            )
            .replace("{message}", "{inbox}")
    }
}

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
    pub(super) shelf: Shelf,
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
            shelf: Shelf::outbox(),
            schema,
            prefix,
        }
    }

    /// The names for the rows of another queue.
    pub(crate) fn of(self, shelf: Shelf) -> Self {
        Self { shelf, ..self }
    }

    /// Puts the names into a statement.
    pub(crate) fn fill(&self, template: &str) -> String {
        let mut text = self
            .shelf
            .place(template)
            .replace("{{schema}}", self.schema.as_str())
            .replace("{{prefix}}", &self.prefix)
            .replace("{{channel}}", &self.channel)
            .replace("{{wake_key}}", &self.wake_key.to_string())
            .replace("{{migrate_key}}", &self.migrate_key.to_string())
            .replace("{{order_seed}}", &self.order_seed.to_string())
            .replace("{blocks}", BLOCKS)
            .replace("{fence}", FENCE)
            .replace("{fence_of_one}", FENCE_OF_ONE)
            .replace("{past}", PAST);
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
