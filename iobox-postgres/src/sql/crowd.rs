//! The statements that park the keys of crowds in a cursor of the log, and that let them go on.

use super::{Names, Statement, cursor::BEHIND_MAX, log};

/// How many rows one look at a crowd takes in.
const LOOK: usize = 1_024;
/// How many it takes in behind a key that is parked already: what is behind the crowd waits until it is passed.
const LOOK_ON: usize = 8_192;
/// How many of the first a key must have so that it is parked.
const CROWD: usize = 256;
/// How many keys of a partition are parked at most.
const PARKED_MAX: usize = 16;

/// Parks keys whose rows are in the way in crowds, or takes more rows of those that are parked. `$1`
/// queue, `$2` partitions, `$3` their epochs, `$4` partitions of the keys, `$5` the keys, `$6` whether
/// each is full, `$7` seqs that are held. Returns what became waiting, and whether the rows of a key fill a
/// look, so that behind it there may be more of them and hardly anything else.
///
/// Locks the partitions FOR SHARE and their cursors FOR UPDATE, as a settlement does, and does nothing
/// for one that has seen more than this statement sees. Of each it looks at the oldest rows behind the
/// cursor, by the primary key (`look`). A key is parked from the first of its rows there to the last,
/// if there are many, if none of its rows behind the first is held or finished, and if there is room;
/// a key that is parked already has its last row moved up, and for its sake more rows are looked at. No row is
/// written.
///
/// Then the cursor goes past them, in the way of a settlement: to the first row that is none of these, or
/// to the last of these.
/// Held rows of such a key, which stand in front of it, are listed in `behind`.
const PARK: &str = "
with {fence}, now as materialized (
  select pg_catalog.pg_current_snapshot() as snapshot
), place as materialized (
  select k.*
  from {cursor} as k
  where k.partition = any (array(select partition from fence)) and k.partition = any ($4::smallint[])
  order by k.partition
  for update of k
), fresh as materialized (
  select k.*
  from place as k
  cross join now
  where {fresh}
), named as materialized (
  select n.partition, n.key, n.is_full, old.first as parked, (
      select b.seq from {message} as b
      where b.partition = n.partition and b.key = n.key and {blocks}
      order by b.seq
      limit 1
    ) as blocker
  from unnest($4::smallint[], $5::text[], $6::boolean[]) as n (partition, key, is_full)
  join fresh as k on k.partition = n.partition
  left join lateral (
    select u.first from unnest(k.parked_keys, k.parked_first) as u (key, first)
    where u.key = n.key
  ) as old on true
), look as materialized (
  select k.partition, m.seq, m.key, m.xid
  from fresh as k
  cross join lateral (
    select m.seq, m.key, m.xid
    {ahead}
    order by m.seq
    limit case when exists (
      select from named as n where n.partition = k.partition and n.parked is not null
    ) then {look_on} else {look} end
  ) as m
), edge as materialized (
  select k.partition, m.seq
  from fresh as k
  cross join lateral (
    select m.seq
    {ahead}
    order by m.seq
    offset {look} - 1
    limit 1
  ) as m
  where exists (select from named as n where n.partition = k.partition and n.parked is null)
    and exists (select from named as n where n.partition = k.partition and n.parked is not null)
), crowd as materialized (
  select n.partition, n.key, n.parked, min(l.seq) as first, max(l.seq) as last, count(*) as count
  from look as l
  join named as n on n.partition = l.partition and n.key = l.key
  left join edge as e on e.partition = l.partition
  where case when n.parked is not null then l.seq > n.parked
    else (e.seq is null or l.seq <= e.seq) and (n.is_full or l.seq > n.blocker) end
  group by n.partition, n.key, n.parked
), chosen as materialized (
  select c.*, row_number() over (partition by c.partition, c.parked is null order by c.key) as place
  from crowd as c
  join fresh as k on k.partition = c.partition
  where c.parked is not null or (
    c.count >= {crowd} and not exists (
      select from unnest($7::bigint[] || k.ahead) as u (seq)
      join {message} as m on m.partition = c.partition and m.seq = u.seq
      where u.seq > c.first and m.key = c.key
    )
  )
), taken as materialized (
  select c.* from chosen as c
  join fresh as k on k.partition = c.partition
  where c.parked is not null or c.place + cardinality(k.parked_keys) <= {parked_max}
), entries as materialized (
  select k.partition, u.key, u.first, greatest(u.last, t.last) as last
  from fresh as k
  cross join lateral unnest(k.parked_keys, k.parked_first, k.parked_last) as u (key, first, last)
  left join taken as t on t.partition = k.partition and t.key = u.key
  where k.partition in (select partition from taken)
  union all
  select t.partition, t.key, t.first, t.last from taken as t where t.parked is null
), lists as materialized (
  select e.partition, array_agg(e.key order by e.key) as keys,
    array_agg(e.first order by e.key) as first, array_agg(e.last order by e.key) as last
  from entries as e
  group by e.partition
), front as materialized (
  select m.partition, m.seq, m.xid
  from taken as t
  join fresh as k on k.partition = t.partition
  cross join lateral (
    select m.partition, m.seq, m.xid
    from unnest($7::bigint[]) as u (seq)
    join {message} as m on m.partition = t.partition and m.seq = u.seq
    where u.seq > k.upto and u.seq < t.first and u.seq <> all (k.ahead)
      and m.key = t.key and {logged}
    offset 0
  ) as m
), target as materialized (
  select f.partition, f.upto, f.ahead, f.ahead_xids, f.behind, l.keys as parked_keys,
    l.first as parked_first, l.last as parked_last,
    (select max(t.last) from taken as t where t.partition = f.partition) as top,
    case when late.any then f.seen else now.snapshot end as seen
  from fresh as f
  join lists as l on l.partition = f.partition
  cross join now
  cross join lateral (
    select exists (
      select null::bigint as seq where false{late}
    ) as any
    from (select f.seen, f.upto, '{}'::bigint[] as behind, f.ahead, l.keys as parked_keys,
      l.first as parked_first, l.last as parked_last) as k
  ) as late
), held as materialized (
  select m.partition, m.seq, m.key, m.xid
  from target as k
  cross join lateral (
    select m.partition, m.seq, m.key, m.xid
    from unnest($7::bigint[]) as u (seq)
    join {message} as m on m.partition = k.partition and m.seq = u.seq
    where u.seq > k.upto and u.seq <= k.top and u.seq <> all (k.ahead) and {logged}
    offset 0
  ) as m
  where (m.partition, m.seq) not in (select partition, seq from front)
), gap as materialized (
  select m.partition, min(m.seq) as seq
  from (
    select partition, seq, key, xid from look
    union all
    select partition, seq, key, xid from held
  ) as m
  join target as k on k.partition = m.partition
  where pg_catalog.pg_visible_in_snapshot(m.xid, k.seen)
    and not exists (
      select from entries as e
      where e.partition = m.partition and e.key = m.key and m.seq between e.first and e.last
    )
  group by m.partition
), reach as materialized (
  select k.*, least(gap.seq - 1, greatest(k.upto, k.top)) as goal
  from target as k
  left join gap on gap.partition = k.partition
), moved as (
  update {cursor} as k
  set parked_keys = r.parked_keys, parked_first = r.parked_first, parked_last = r.parked_last,
    seen = case when r.fits then r.seen else k.seen end,
    upto = case when r.fits then r.goal else k.upto end,
    ahead = case when r.fits then array(
      select a.seq from unnest(r.ahead, r.ahead_xids) with ordinality as a (seq, xid, ord)
      where not (a.seq <= r.goal and pg_catalog.pg_visible_in_snapshot(a.xid, r.seen))
      order by a.ord
    ) else k.ahead end,
    ahead_xids = case when r.fits then array(
      select a.xid from unnest(r.ahead, r.ahead_xids) with ordinality as a (seq, xid, ord)
      where not (a.seq <= r.goal and pg_catalog.pg_visible_in_snapshot(a.xid, r.seen))
      order by a.ord
    ) else k.ahead_xids end,
    behind = case when r.fits then r.behind || array(
      select f.seq from front as f
      where f.partition = r.partition and f.seq <= r.goal
        and pg_catalog.pg_visible_in_snapshot(f.xid, r.seen)
    ) else k.behind end
  from (
    select r.*, (
      select count(*) from front as f where f.partition = r.partition
    ) + cardinality(r.behind) <= {behind_max} as fits
    from reach as r
  ) as r
  where k.partition = r.partition
)
select partition, key, first, count,
  8 * count >= 7 * case when parked is null then {look} else {look_on} end as fills
from taken
";

/// How many rows one release walks over to find those of its key.
const WALK: usize = 16_384;

/// Makes rows of parked keys pending: `$1` queue, `$2` partitions, `$3` their epochs, `$4` partitions of
/// the keys, `$5` the keys. Returns the keys of which there were any.
///
/// Locks as `PARK` does, and does nothing for a cursor that has seen more than this statement. Of a key
/// that nothing blocks in front of its first parked row, the oldest 256 leave the log as pending, found
/// by a walk over the primary key, which a settlement that waits for the cursor must know (`changes`): it has
/// read them as logged. The rest stays parked, from the next one on; a row that commits later
/// with a seq in front of it is not visible to the cursor, and pending as every late one.
const UNPARK: &str = "
with {fence}, now as materialized (
  select pg_catalog.pg_current_snapshot() as snapshot
), place as materialized (
  select k.*
  from {cursor} as k
  where k.partition = any (array(select partition from fence)) and k.partition = any ($4::smallint[])
    and cardinality(k.parked_keys) > 0
  order by k.partition
  for update of k
), entry as materialized (
  select k.partition, u.key, u.first, u.last
  from place as k
  cross join now
  cross join lateral unnest(k.parked_keys, k.parked_first, k.parked_last) as u (key, first, last)
  where {fresh}
    and (k.partition, u.key) in (
      select n.partition, n.key from unnest($4::smallint[], $5::text[]) as n (partition, key)
    )
    and not exists (
      select from {message} as b
      where b.partition = k.partition and b.key = u.key and {blocks} and b.seq < u.first
    )
), walked as materialized (
  select e.partition, e.key, m.seq, m.key = e.key as own
  from entry as e
  cross join lateral (
    select m.seq, m.key from {message} as m
    where m.partition = e.partition and m.seq >= e.first and m.seq <= e.last and {logged}
    order by m.seq
    limit {walk}
  ) as m
), own as materialized (
  select w.partition, w.key, w.seq,
    row_number() over (partition by w.partition, w.key order by w.seq) as place
  from walked as w
  where w.own
), ends as materialized (
  select e.partition, e.key, coalesce(
    (select o.seq from own as o
      where o.partition = e.partition and o.key = e.key and o.place = 257),
    (select case when count(*) = {walk} then max(w.seq) + 1 end from walked as w
      where w.partition = e.partition and w.key = e.key)
  ) as next
  from entry as e
), freed as (
  update {message} as m set state = 0
  from own as o
  where o.place <= 256 and m.partition = o.partition and m.seq = o.seq and {logged}
  returning m.partition, m.key
), moved as (
  update {cursor} as k
  set parked_keys = coalesce(l.keys, '{}'), parked_first = coalesce(l.first, '{}'),
    parked_last = coalesce(l.last, '{}'),
    changes = k.changes + case when k.partition in (select partition from freed) then 1 else 0 end
  from (
    select p.partition, left_over.*
    from place as p
    cross join lateral (
      select array_agg(u.key order by u.key) as keys,
        array_agg(coalesce(e.next, u.first) order by u.key) as first,
        array_agg(u.last order by u.key) as last
      from unnest(p.parked_keys, p.parked_first, p.parked_last) as u (key, first, last)
      left join ends as e on e.partition = p.partition and e.key = u.key
      where e.key is null or e.next <= u.last
    ) as left_over
    where p.partition in (select partition from ends)
  ) as l
  where k.partition = l.partition
)
select distinct partition, key from freed
";

/// The rows behind the cursor `k` that are pending and not held.
const AHEAD: &str = "from {message} as m
    where m.partition = k.partition and m.seq > k.upto and {logged}
      and m.seq <> all (k.ahead) and not {aside}
      and m.seq not in (select unnest($7::bigint[]))";

/// The statements of crowds.
#[derive(Debug)]
pub(crate) struct CrowdSql {
    pub(crate) park: Statement,
    pub(crate) unpark: Statement,
}

impl CrowdSql {
    pub(super) fn new(names: &Names) -> Self {
        let late = log::pending("m.seq", "f.partition", " and m.seq <= k.upto", "");
        let bounds = [
            ("{behind_max}", BEHIND_MAX),
            ("{look}", LOOK),
            ("{look_on}", LOOK_ON),
            ("{crowd}", CROWD),
            ("{parked_max}", PARKED_MAX),
            ("{walk}", WALK),
        ];
        let new = |template: &str| {
            let text = template
                .replace("{ahead}", AHEAD)
                .replace("{late}", &late)
                .replace("{fresh}", &log::within("k.seen", "now.snapshot"))
                .replace("{logged}", log::LOGGED);
            let text = bounds.iter().fold(text, |text, (name, bound)| {
                text.replace(name, &bound.to_string())
            });
            Statement::new(names, &text)
        };
        Self {
            park: new(PARK),
            unpark: new(UNPARK),
        }
    }
}
