//! Statements of settling.

use super::{Names, Statement};

/// What both statements return: partitions whose fence held, and which inputs were applied.
macro_rules! outcome {
    () => {
        "
select
  array(select partition from fence) as held,
  array(select ord from changed) as applied
"
    };
}

/// Settles messages that were executed, of rows that are no log. After the parameters of the fence: `$4` partitions, `$5` seqs, `$6`
/// revisions, `$7` attempts, `$8` whether the broker knew them. Rows by the primary key, in the
/// order of the input, after the array of the fence's result (an array, since a join looks at every
/// partition for every message); each is locked by its update.
const DONE: &str = concat!(
    "with {fence}, changed as (
  update {message} as m
  set state = 4, revision = m.revision + 1, attempt = i.attempt, absorbed = i.duplicate,
    settled_at = (select {clock}()), due_at = null, suspect = false, alone = false, crashes = 0
  from unnest($4::smallint[], $5::bigint[], $6::integer[], $7::integer[], $8::boolean[])
    with ordinality as i (partition, seq, revision, attempt, duplicate, ord)
  where i.partition = any(array(select partition from fence))
    and m.partition = i.partition and m.seq = i.seq and m.revision = i.revision
    and m.state in (0, 1, 2)
  returning i.ord
)",
    outcome!()
);

/// Settles anything. As above, then `$8` what to record (0 done, 1 retry, 2 unknown, 3 dead,
/// 4 suspect, 5 clear, 6 dead and uncertain), `$9` delays in microseconds, `$10` reasons, `$11` the flag of what
/// is recorded (absorbed, alone, halts), `$12` crashes.
const ANY: &str = concat!(
    "with {fence}, now as materialized (
  select {clock}() as at
), changed as (
  update {message} as m
  set
    state = case i.what when 0 then 4 when 1 then 1 when 2 then 1 when 3 then 3 when 6 then 3
      else case m.state when 6 then 0 else m.state end end,
    revision = m.revision + 1,
    attempt = i.attempt,
    due_at = case
      when i.what in (1, 2) then now.at + i.after * interval '1 microsecond'
      when i.what in (4, 5) then m.due_at end,
    settled_at = case when i.what in (0, 3, 6) then now.at end,
    reason = case when i.what in (1, 2, 3, 6) then i.reason else m.reason end,
    uncertain = m.uncertain or i.what in (2, 6),
    alone = case when i.what = 2 then i.flag else m.alone and i.what in (4, 5) end,
    suspect = i.what = 4,
    crashes = case when i.what in (4, 5) then i.crashes else 0 end,
    halts = i.what in (3, 6) and i.flag and m.key is not null,
    absorbed = i.what = 0 and i.flag
  from unnest($4::smallint[], $5::bigint[], $6::integer[], $7::integer[], $8::smallint[],
      $9::bigint[], $10::text[], $11::boolean[], $12::integer[])
    with ordinality
    as i (partition, seq, revision, attempt, what, after, reason, flag, crashes, ord)
  cross join now
  where i.partition = any(array(select partition from fence))
    and m.partition = i.partition and m.seq = i.seq and m.revision = i.revision
    and {open}
  returning i.ord
)",
    outcome!()
);

/// Looks at rows to which a settlement did not apply, in a snapshot of its own: `$1` partitions,
/// `$2` seqs. By the primary key.
const LOOK: &str = "
select i.ord, {revisions}, {shown}, m.suspect
from unnest($1::smallint[], $2::bigint[]) with ordinality as i (partition, seq, ord)
join {message} as m on m.partition = i.partition and m.seq = i.seq
";

/// The statements of settling.
#[derive(Debug)]
pub(crate) struct SettleSql {
    pub(crate) done: Statement,
    pub(crate) any: Statement,
    pub(crate) look: Statement,
}

impl SettleSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            done: Statement::new(names, DONE),
            any: Statement::new(names, ANY),
            look: Statement::new(names, LOOK),
        }
    }
}
