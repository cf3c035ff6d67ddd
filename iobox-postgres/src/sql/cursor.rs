//! The statements that move a cursor of the log over what is done, and that remove what it took.

use super::{Names, Statement, log};

/// How many finished rows a cursor lists beside its snapshot. What is in their way is listed then, or
/// leaves the log.
const AHEAD_MAX: usize = 1_024;
/// How many unfinished rows a cursor lists that it went past.
pub(super) const BEHIND_MAX: usize = 256;

/// Settles messages that were executed. After the parameters of the fence: `$4` partitions, `$5` seqs,
/// `$6` revisions, `$7` attempts, `$8` whether the broker knew them; `$9` for each partition of the
/// fence a snapshot of an earlier fetch, or null.
///
/// Rows by the primary key. A logged row is not written: its cursor takes it (`finished`). One that
/// needs a word of its own, since the broker knew it or it was not the first attempt, and one that is
/// apart from the log, is updated (`changed`). So is one of a parked key: a fetch that took effect late, and
/// did not know that it is at hand, has parked it, and what the cursor says of it is that it waits.
///
/// A cursor is locked FOR UPDATE, behind the fence and in the same order. Who changed messages
/// (`changes`) while this statement waited for that, a person, or a settlement by which some left the
/// log, made what it sees of them old: such a cursor is told as `unsteady` and left where it is, and the
/// caller repeats. Then, for each other one:
///
/// * `fresh`: nothing is moved unless what the cursor has seen is within what this statement sees. It
///   may not be, when another settlement of the same caller moved it while this one waited for the
///   lock.
/// * `later`: the snapshot of a fetch takes the place of `seen` if it is a later one, and if no row that
///   it adds below `upto` is unfinished (`late`).
/// * `gap`: the first row behind `upto` that was visible in the snapshot and is not finished. The cursor
///   goes up to it, or to the last finished row. Rows of parked keys are no gap.
/// * Finished rows that are not taken so are listed in `ahead`. When these become too many, what this
///   statement sees takes the place of `seen`, and the unfinished rows in front (`gaps`) are listed in
///   `behind`; if they are too many for that, they leave the log (`spilled`) and are pending by their
///   state. They are no more than the caller has at hand.
const DONE: &str = "
with {fence}, now as materialized (
  select {clock}() as at, pg_catalog.pg_current_snapshot() as snapshot
), given as materialized (
  select i.ord, i.partition, i.seq, i.revision, i.attempt, i.duplicate, m.state, m.xid, m.key,
    m.state = 6 and i.attempt = 1 and not i.duplicate as plain
  from unnest($4::smallint[], $5::bigint[], $6::integer[], $7::integer[], $8::boolean[])
    with ordinality as i (partition, seq, revision, attempt, duplicate, ord)
  join {message} as m on m.partition = i.partition and m.seq = i.seq and m.revision = i.revision
  where i.partition = any (array(select partition from fence)) and m.state in (0, 1, 2, 6)
), before as materialized (
  select k.partition, k.changes
  from {cursor} as k
  where k.partition = any (array(select partition from fence))
), locked as materialized (
  select k.partition, k.changes, k.seen, k.upto, k.behind, k.ahead, k.ahead_xids, k.parked_keys,
    k.parked_first, k.parked_last, h.hint::pg_snapshot as hint
  from {cursor} as k
  join unnest($2::smallint[], $9::text[]) as h (partition, hint) on h.partition = k.partition
  where k.partition = any (array(select partition from fence))
    and k.partition in (select partition from given where plain)
  order by k.partition
  for update of k
), place as materialized (
  select l.*
  from locked as l
  join before as b on b.partition = l.partition and b.changes = l.changes
), ahead as materialized (
  select p.partition, a.seq, a.xid
  from place as p cross join lateral unnest(p.ahead, p.ahead_xids) as a (seq, xid)
), logged as materialized (
  select m.ord, m.partition, m.seq, m.xid,
    (m.seq <= k.upto and pg_catalog.pg_visible_in_snapshot(m.xid, k.seen)
      and m.seq <> all (k.behind))
      or m.seq in (select seq from ahead) as known
  from given as m
  join place as k on k.partition = m.partition
  where m.plain and not {aside}
), apart as materialized (
  select m.ord, m.partition, m.seq, m.revision, m.attempt, m.duplicate
  from given as m
  where not m.plain
  union all
  select m.ord, m.partition, m.seq, m.revision, m.attempt, m.duplicate
  from given as m
  join place as k on k.partition = m.partition
  where m.plain and {aside}
), finished as materialized (
  select partition, seq, xid from ahead
  union all
  select partition, seq, xid from logged where not known
), rules as materialized (
  select p.partition, p.hint, greatest(p.upto, f.top) as top,
    {seen_is_within} as fresh,
    p.hint is not null and {hint_is_later} and {hint_is_within} as later
  from place as p
  cross join now
  left join (
    select partition, max(seq) as top from finished group by partition
  ) as f on f.partition = p.partition
), target as materialized (
  select r.partition, r.top, r.fresh,
    case when r.fresh and r.later and not late.any then r.hint else k.seen end as seen,
    r.fresh and r.later and not late.any as adopted
  from rules as r
  join place as k on k.partition = r.partition
  cross join lateral (
    select case when not (r.fresh and r.later) then false else exists (
      select from {began} as m
      where pg_catalog.pg_visible_in_snapshot(m.xid, r.hint)
        and m.seq not in (select seq from finished) and not {aside}
    ) or exists (
      select from {under_way} as m
      where pg_catalog.pg_visible_in_snapshot(m.xid, r.hint)
        and m.seq not in (select seq from finished) and not {aside}
    ) end as any
    offset 0
  ) as late
), reach as materialized (
  select t.partition, t.seen, t.top, t.fresh, t.adopted,
    case when t.fresh then coalesce(gap.seq - 1, t.top) else k.upto end as upto
  from target as t
  join place as k on k.partition = t.partition
  left join lateral (
    select m.seq
    from {message} as m
    where m.partition = t.partition and m.seq > k.upto and {logged}
      and pg_catalog.pg_visible_in_snapshot(m.xid, t.seen)
      and m.seq not in (select seq from finished) and not {aside}
    order by m.seq
    limit 1
  ) as gap on t.fresh
), rest as materialized (
  select f.partition, array_agg(f.seq) as seqs, array_agg(f.xid) as xids, count(*) as count
  from finished as f
  join reach as r on r.partition = f.partition
  where not (f.seq <= r.upto and pg_catalog.pg_visible_in_snapshot(f.xid, r.seen))
  group by f.partition
), gaps as materialized (
  select r.partition, r.top, g.seqs
  from reach as r
  join rest on rest.partition = r.partition
  join place as k on k.partition = r.partition
  cross join lateral (
    select coalesce(array_agg(distinct m.seq), '{}') as seqs
    from (
      select null::bigint as seq where false{gaps}
    ) as m
    where m.seq not in (select seq from finished)
  ) as g
  where r.fresh and rest.count > {ahead_max}
), spilled as (
  update {message} as m set state = 0
  from (
    select g.partition, s.seq
    from gaps as g cross join lateral unnest(g.seqs) as s (seq)
    where cardinality(g.seqs) > {behind_max}
  ) as s
  where m.partition = s.partition and m.seq = s.seq and {logged}
), moved as (
  update {cursor} as k
  set seen = case when g.partition is null then r.seen else now.snapshot end,
    upto = case when g.partition is null then r.upto else r.top end,
    changes = k.changes + case when cardinality(g.seqs) > {behind_max} then 1 else 0 end,
    ahead = case when g.partition is null then coalesce(rest.seqs, '{}') else '{}' end,
    ahead_xids = case when g.partition is null then coalesce(rest.xids, '{}') else '{}' end,
    behind = case
      when g.partition is not null and cardinality(g.seqs) <= {behind_max} then g.seqs
      when g.partition is not null then '{}'
      when cardinality(p.behind) = 0 then '{}'
      else array(
        select b.seq from unnest(p.behind) as b (seq)
        where b.seq not in (select seq from finished) and exists (
          select from {message} as m
          where m.partition = p.partition and m.seq = b.seq and {logged}
        )
      ) end
  from reach as r
  join place as p on p.partition = r.partition
  cross join now
  left join rest on rest.partition = r.partition
  left join gaps as g on g.partition = r.partition
  where k.partition = r.partition
  returning k.partition, r.adopted or g.partition is not null as adopted
), noted as (
  insert into {settled} (at, first, last, partition, seqs)
  select (select at from now), min(l.seq), max(l.seq), l.partition, array_agg(l.seq order by l.seq)
  from logged as l
  where not l.known
  group by l.partition
), changed as (
  update {message} as m
  set state = 4, revision = m.revision + 1, attempt = g.attempt, absorbed = g.duplicate,
    settled_at = (select at from now), due_at = null, suspect = false, alone = false, crashes = 0
  from apart as g
  where m.partition = g.partition and m.seq = g.seq and m.revision = g.revision
    and {open}
  returning g.ord
)
select
  array(select partition from fence) as held,
  array(select ord from changed union all select ord from logged) as applied,
  array(select partition from moved where adopted) as adopted,
  array(
    select l.partition from locked as l where l.partition not in (select partition from place)
  ) as unsteady
";

/// Removes logged rows that were done longer ago than `$1` microseconds, at most `$2` rows, oldest
/// first, and what `settled` says of them. By the index `settled_at` and the primary key; what somebody
/// else removes is left to him.
const PURGE: &str = "
with old as materialized (
  select s.partition, s.first, s.seqs, cardinality(s.seqs) as size,
    sum(cardinality(s.seqs)) over (order by s.at, s.partition, s.first) as upto
  from (
    select s.at, s.partition, s.first, s.seqs
    from {settled} as s
    where s.at < (select {clock}() - $1::bigint * interval '1 microsecond')
    order by s.at
    limit $2
    for update skip locked
  ) as s
), taken as materialized (
  select o.partition, o.first, o.seqs, o.size, least(o.size, $2 - (o.upto - o.size))::integer as count
  from old as o
  where o.upto - o.size < $2
), named as materialized (
  select t.partition, u.seq
  from taken as t
  cross join lateral unnest(t.seqs[1:t.count]) as u (seq)
), removed as (
  delete from {message} as m
  using named as n
  where m.partition = n.partition and m.seq = n.seq and {logged}
  returning m.seq
), emptied as (
  delete from {settled} as s
  using taken as t
  where s.partition = t.partition and s.first = t.first and t.count = t.size
), shortened as (
  update {settled} as s set first = t.seqs[t.count + 1], seqs = t.seqs[t.count + 1:]
  from taken as t
  where s.partition = t.partition and s.first = t.first and t.count < t.size
)
select count(*) from removed
";

/// The statements of a cursor.
#[derive(Debug)]
pub(crate) struct CursorSql {
    pub(crate) done: Statement,
    pub(crate) purge: Statement,
}

impl CursorSql {
    pub(super) fn new(names: &Names) -> Self {
        let gaps = log::pending("m.seq", "r.partition", " and m.seq <= r.top", "");
        let [began, under_way] = log::late("m.seq, m.xid, m.key", "r.partition", "k");
        let done = DONE
            .replace("{seen_is_within}", &log::within("p.seen", "now.snapshot"))
            .replace("{hint_is_later}", &log::within("p.seen", "p.hint"))
            .replace("{hint_is_within}", &log::within("p.hint", "now.snapshot"))
            .replace("{began}", &began)
            .replace("{under_way}", &under_way)
            .replace("{gaps}", &gaps)
            .replace("{ahead_max}", &AHEAD_MAX.to_string())
            .replace("{behind_max}", &BEHIND_MAX.to_string())
            .replace("{logged}", log::LOGGED);
        Self {
            done: Statement::new(names, &done),
            purge: Statement::new(names, &PURGE.replace("{logged}", log::LOGGED)),
        }
    }
}
