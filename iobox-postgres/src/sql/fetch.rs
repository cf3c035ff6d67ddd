//! Statements of fetching.

use super::{Names, Statement};

/// What is due. `$1` partitions in the order in which they are served, `$2` the most rows of each,
/// `$3` seqs that are held, `$4` keys that are full, `$5` the most rows in all, `$6` the most bytes,
/// `$7` the partitions of the full keys. Takes no locks; everything comes from the snapshot of the one statement.
///
/// `visit` goes from partition to partition and stops when enough was found. In each it reads at
/// most `2 * limit` pending rows by the index `message_pending` (`limit` when nothing blocks and no
/// key is full) and the 1,000 longest due, or `2 * limit`, by `message_due`; one more of each to see
/// whether there is more. Kinds: 0 may run, 1 of a full key, 2 blocked, found by the index `message_blocker`. It
/// keeps the places (`ctid`) of the rows; within a snapshot they are as good as the key, and only
/// the rows that are returned are read again. The payload is read of those alone that may run.
///
/// Held seqs and full keys are compared by hash. A seq is unique in the table, so that its partition
/// does not matter.
///
/// The last part names the partitions that hold more; of one that was not visited it knows by one
/// look whether anything is due.
const FETCH: &str = "
with recursive now as materialized (
  select {clock}() as at
), request as materialized (
  select r.ord, r.partition, r.most
  from unnest($1::smallint[], $2::bigint[]) with ordinality as r (partition, most, ord)
), visit (ord, taken, bytes, runs, asides, more) as (
  select 0::bigint, 0::bigint, 0::bigint, null::tid[], null::tid[], false
  union all
  select r.ord,
    v.taken + coalesce(cardinality(w.runs), 0),
    v.bytes + w.bytes,
    w.runs,
    case when w.crowd >= greatest(r.most, 1) then w.stopped else w.blocked end,
    w.cut or w.found > coalesce(cardinality(w.runs), 0)
      + case when w.crowd >= greatest(r.most, 1) then coalesce(cardinality(w.stopped), 0)
        else coalesce(cardinality(w.blocked), 0) + w.crowd end
  from visit as v
  join request as r on r.ord = v.ord + 1
  cross join lateral (
    select exists (select from {message} as b where b.partition = r.partition and {blocks})
      as present
    offset 0
  ) as blockers
  cross join lateral (
    select case when blockers.present or cardinality($4::text[]) > 0
      then 2 * r.most + 1 else r.most + 1 end as most
    offset 0
  ) as window_pending
  cross join lateral (
    select greatest(2 * r.most, 1000) + 1 as most offset 0
  ) as window_due
  cross join lateral (
    select
      count(*) as found,
      count(*) filter (where early) >= window_due.most
        or count(*) filter (where not early) >= window_pending.most as cut,
      count(*) filter (where kind = 1) as crowd,
      coalesce(max(upto) filter (where runs), 0)::bigint as bytes,
      array_agg(tid) filter (where runs) as runs,
      (array_agg(tid) filter (where kind = 2))[1:r.most] as blocked,
      (array_agg(tid) filter (where kind in (1, 2)))[1:r.most] as stopped
    from (
      select tid, early, kind, upto,
        kind = 0 and place <= least(r.most, $5 - v.taken)
          and (v.bytes + upto <= $6 or (v.taken = 0 and place = 1)) as runs
      from (
        select tid, early, kind,
          count(*) filter (where kind = 0) over in_order as place,
          sum(size) filter (where kind = 0) over in_order as upto
        from (
          select tid, early, seq, size,
            case
              when key is null then 0
              when blockers.present and exists (
                select from {message} as b
                where b.partition = r.partition and b.key = due.key and b.seq < due.seq
                  and {blocks}
              ) then 2
              when (r.partition, key) in (select * from unnest($7::smallint[], $4::text[])) then 1
              else 0
            end as kind
          from (
            (
              select m.ctid as tid, false as early, m.seq, m.key, m.size
              from {message} as m
              where m.partition = r.partition and m.state = 0
                and m.seq not in (select unnest($3::bigint[]))
              order by m.seq
              limit window_pending.most
            )
            union all
            (
              select first_due.tid, true, first_due.seq, first_due.key, first_due.size
              from (
                select m.ctid as tid, m.seq, m.key, m.size
                from {message} as m
                where m.partition = r.partition and m.state = 1
                  and m.due_at <= (select at from now)
                  and m.seq not in (select unnest($3::bigint[]))
                order by m.due_at
                limit window_due.most
              ) as first_due
              order by first_due.seq
            )
            order by seq
          ) as due
          offset 0
        ) as kinds
        window in_order as (order by seq rows unbounded preceding)
      ) as sums
    ) as chosen
  ) as w
  where v.taken < $5 and (v.bytes < $6 or v.taken = 0)
)
select t.aside, m.partition, m.seq, m.revision, m.attempt, m.key, m.crashes, m.uncertain, m.alone,
  m.suspect, m.size,
  (extract(epoch from (select at from now) - m.enqueued_at) * 1000000)::bigint as age,
  m.id, m.topic, m.headers,
  case when not t.aside then m.payload end as payload
from visit as v
cross join lateral (
  select tid, false as aside from unnest(v.runs) as tid
  union all
  select tid, true from unnest(v.asides) as tid
) as t
join {message} as m on m.ctid = t.tid
union all
select null, r.partition, null, null, null, null, null, null, null, null, null, null, null, null,
  null, null
from request as r
left join visit as v on v.ord = r.ord
where case when v.ord is not null then v.more else
  exists (
    select from {message} as m
    where m.partition = r.partition and m.state = 0
      and m.seq not in (select unnest($3::bigint[]))
  ) or exists (
    select from {message} as m
    where m.partition = r.partition and m.state = 1 and m.due_at <= (select at from now)
      and m.seq not in (select unnest($3::bigint[]))
  ) end
";

/// Makes waiting rows pending. `$1` queue, `$2` partitions, `$3` their epochs, `$4` partitions of
/// the keys, `$5` the keys. The fence locks the partitions FOR SHARE in order; a partition that was
/// taken meanwhile is not in it, and nothing of it moves. Of each key the oldest 256 blockers are
/// read by the index `message_blocker`, and those before the first that is not waiting are moved.
const RELEASE: &str = "
with fence as materialized (
  select p.partition from {partition} as p
  join unnest($2::smallint[], $3::bigint[]) as h (partition, epoch)
    on h.partition = p.partition and h.epoch = p.epoch
  where p.queue = $1 and p.owner <> '00000000-0000-0000-0000-000000000000'
  order by p.partition
  for share of p
), ready as materialized (
  select k.partition, w.seq
  from (
    select distinct n.partition, n.key
    from unnest($4::smallint[], $5::text[]) as n (partition, key)
    join fence on fence.partition = n.partition
  ) as k
  cross join lateral (
    select oldest.seq,
      bool_and(oldest.state = 2) over (order by oldest.seq rows unbounded preceding) as clear
    from (
      select b.seq, b.state from {message} as b
      where b.partition = k.partition and b.key = k.key and {blocks}
      order by b.seq
      limit 256
    ) as oldest
  ) as w
  where w.clear
), moved as (
  update {message} as m set state = 0, revision = m.revision + 1
  from ready as r
  where m.partition = r.partition and m.seq = r.seq and m.state = 2
  returning m.partition, m.key
)
select distinct partition, key from moved
";

/// Looks for keys whose first blocker is a waiting row. `$1` partitions, `$2` for each the key to
/// start behind. Goes from key to key by the index `message_blocker`: at most 1,000 keys of a
/// partition, or until 64 were found. Returns what it found and, of each partition, where it ended
/// and whether it was cut there.
const SWEEP: &str = "
with recursive walk (partition, key, state, steps, found) as (
  select s.partition, f.key, f.state, 1, case when f.state = 2 then 1 else 0 end
  from unnest($1::smallint[], $2::text[]) as s (partition, after)
  cross join lateral (
    select b.key, b.state from {message} as b
    where b.partition = s.partition and b.key > s.after and {blocks}
    order by b.key, b.seq
    limit 1
  ) as f
  union all
  select w.partition, f.key, f.state, w.steps + 1,
    w.found + case when f.state = 2 then 1 else 0 end
  from walk as w
  cross join lateral (
    select b.key, b.state from {message} as b
    where b.partition = w.partition and b.key > w.key and {blocks}
    order by b.key, b.seq
    limit 1
  ) as f
  where w.steps < 1000 and w.found < 64
)
select partition, key, state = 2 as ready, steps >= 1000 or found >= 64 as cut
from walk
where state = 2 or steps >= 1000
";

/// The statements of fetching.
#[derive(Debug)]
pub(crate) struct FetchSql {
    pub(crate) fetch: Statement,
    pub(crate) release: Statement,
    pub(crate) sweep: Statement,
}

impl FetchSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            fetch: Statement::new(names, FETCH),
            release: Statement::new(names, RELEASE),
            sweep: Statement::new(names, SWEEP),
        }
    }
}
