//! The statement that moves a cursor over a stretch of the log that is done as a whole.

use super::{Names, Statement, log};

/// Settles messages that were executed, where they are all that a partition had up to the last of them.
/// After the parameters of the fence: `$4` seqs, in order within each partition; for each partition of
/// the fence `$5` and `$6` the places of its first and of its last seq in `$4`, and `$7` and `$8` the
/// snapshots of the latest and of an earlier fetch, or null. All went through at the first attempt, and
/// there is nothing to add.
///
/// It does for the usual case what `DONE` does for every case, and reads each row once: the logged rows
/// behind the cursor up to the last seq by the primary key, and those that were committed late by the
/// index `message_xid`. If these, without what waits since its key is parked, are exactly the seqs of the
/// partition, the cursor goes to the last one, and the snapshot in which they were visible takes the place
/// of `seen`. What it left behind stays listed. Else, and where it lists rows that it took ahead of others,
/// the partition is left as it is, for `DONE`.
///
/// Locks as `DONE` does, and leaves a partition alone whose messages were changed while it waited
/// (`changes`). The snapshot is not earlier than `seen`, and within what this statement sees.
const ADVANCE: &str = "
with {fence}, now as materialized (
  select {clock}() as at, pg_catalog.pg_current_snapshot() as snapshot
), before as materialized (
  select k.partition, k.changes
  from {cursor} as k
  where k.partition = any (array(select partition from fence))
), locked as materialized (
  select k.partition, k.changes, k.seen, k.upto, k.parked_keys, k.parked_first, k.parked_last
  from {cursor} as k
  where k.partition = any (array(select partition from fence))
    and cardinality(k.ahead) = 0
  order by k.partition
  for update of k
), place as materialized (
  select l.partition, l.seen, l.upto, l.parked_keys, l.parked_first, l.parked_last,
    g.latest, g.earlier,
    ($4::bigint[])[g.first:g.last] as seqs, ($4::bigint[])[g.last] as last
  from locked as l
  join before as b on b.partition = l.partition and b.changes = l.changes
  join unnest($2::smallint[], $5::integer[], $6::integer[], $7::text[], $8::text[])
    as g (partition, first, last, latest, earlier) on g.partition = l.partition
), reach as materialized (
  select k.partition, k.upto, k.last, k.seqs, s.seen
  from place as k
  cross join now
  cross join lateral (
    select s.seen
    from unnest(array[k.latest::pg_snapshot, k.earlier::pg_snapshot, k.seen]) as s (seen)
    where {is_later} and {is_within}
      and k.seqs = array(
        select m.seq
        from (
          (
            select m.seq
            from {message} as m
            where m.partition = k.partition and m.seq > k.upto and m.seq <= k.last and {logged}
              and pg_catalog.pg_visible_in_snapshot(m.xid, s.seen) and not {aside}
            order by m.seq
            limit cardinality(k.seqs) + 1
          )
          union all
          select m.seq from {began} as m
          where pg_catalog.pg_visible_in_snapshot(m.xid, s.seen) and not {aside}
          union all
          select m.seq from {under_way} as m
          where pg_catalog.pg_visible_in_snapshot(m.xid, s.seen) and not {aside}
        ) as m
        order by m.seq
      )
    limit 1
  ) as s
), moved as (
  update {cursor} as k
  set seen = r.seen, upto = greatest(r.upto, r.last)
  from reach as r
  where k.partition = r.partition
), noted as (
  insert into {settled} (at, first, last, partition, seqs)
  select (select at from now), r.seqs[1], r.last, r.partition, r.seqs
  from reach as r
)
select
  array(select partition from fence) as held,
  array(select partition from reach order by partition) as moved,
  array(select seen::text from reach order by partition) as seen
";

/// The statement of a stretch.
#[derive(Debug)]
pub(crate) struct AdvanceSql {
    pub(crate) advance: Statement,
}

impl AdvanceSql {
    pub(super) fn new(names: &Names) -> Self {
        let [began, under_way] = log::late("m.seq, m.xid, m.key", "k.partition", "k");
        let text = ADVANCE
            .replace("{is_later}", &log::within("k.seen", "s.seen"))
            .replace("{is_within}", &log::within("s.seen", "now.snapshot"))
            .replace("{began}", &began)
            .replace("{under_way}", &under_way)
            .replace("{logged}", log::LOGGED);
        Self {
            advance: Statement::new(names, &text),
        }
    }
}
