//! Statements that run in the caller's transaction.

use super::{Names, Statement};

/// Claims ids that callers brought: `$1` ids, sorted, so that two transactions with the same ids
/// wait for each other in one order. By the primary key. Returns those that are new; one that
/// another open transaction claimed is waited for.
const CLAIM: &str = "
insert into {id} (id, enqueued_at)
select given.id, (select {clock}()) from unnest($1::text[]) with ordinality as given (id, ord)
order by given.ord
on conflict do nothing
returning id
";

/// Inserts messages: `$1` partitions, `$2` ids, `$3` topics, `$4` keys, `$5` headers, `$6`
/// payloads, `$7` sizes. The sequence is drawn after the sort, so that seqs stand in the order of
/// the call.
macro_rules! insert {
    () => {
        "
insert into {message} (partition, id, topic, key, headers, payload, size, enqueued_at)
select i.partition, i.id, i.topic, i.key, i.headers, i.payload, i.size, (select {clock}())
from unnest($1::smallint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
    $7::integer[])
  with ordinality as i (partition, id, topic, key, headers, payload, size, ord)
order by i.ord
"
    };
}

const INSERT: &str = insert!();

/// Inserts as above, and wakes an instance that sleeps: holding K exclusively is how it says so.
/// While nobody sleeps this takes one shared advisory lock until COMMIT and notifies nobody.
const INSERT_AND_WAKE: &str = concat!(
    "with inserted as (",
    insert!(),
    ")
select case
  when pg_catalog.pg_try_advisory_xact_lock_shared({{wake_key}}) then null
  else pg_catalog.pg_notify('{{channel}}', '')::text
end
"
);

/// Locks ordering keys until the end of the transaction, in one order: `$1` keys.
const LOCK_KEYS: &str = "
select pg_catalog.pg_advisory_xact_lock(hash)
from (
  select distinct pg_catalog.hashtextextended(key collate pg_catalog.\"C\", {{order_seed}}) as hash
  from unnest($1::text[]) as key
  order by hash
  offset 0
) as sorted
";

/// The statements that run in the caller's transaction.
#[derive(Debug)]
pub(crate) struct EnqueueSql {
    pub(crate) claim: Statement,
    pub(crate) insert: Statement,
    pub(crate) insert_and_wake: Statement,
    pub(crate) lock_keys: Statement,
}

impl EnqueueSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            claim: Statement::new(names, CLAIM),
            insert: Statement::new(names, INSERT),
            insert_and_wake: Statement::new(names, INSERT_AND_WAKE),
            lock_keys: Statement::new(names, LOCK_KEYS),
        }
    }
}
