//! Statements that move rows between pending and waiting.

use super::{Names, Statement, log};

/// Makes rows waiting that are in the way. `$1` queue, `$2` partitions, `$3` their epochs, `$4`
/// partitions of the keys, `$5` the keys, `$6` whether each is full, `$7` seqs that are held. The
/// fence locks the partitions FOR SHARE in order. In each it reads the 1,024 oldest pending rows by
/// the index `message_pending` (and as many of a log) and the 1,000 longest due by `message_due`, and moves those of the keys
/// that are behind the key's first blocker, found by the index `message_blocker`, or of a full key. It
/// goes to the rows by their places (`ctid`): what somebody changes meanwhile is left alone.
///
/// Rows of a log whose keys are parked are left to `PARK`, but for those that were committed late.
///
/// So few at a time, since a partition has one fetch under way: while rows are moved nobody fetches of
/// it, and what is in memory must last. Its commit does not wait for the disk: what a crash of the server undoes is pending again, and in
/// the way again.
const SET_ASIDE: &str = "
with {fence}, named as materialized (
  select n.partition, n.key, n.is_full, least((
      select b.seq from {message} as b
      where b.partition = n.partition and b.key = n.key and {blocks}
      order by b.seq
      limit 1
    ), {log_parked}) as blocker
  from unnest($4::smallint[], $5::text[], $6::boolean[]) as n (partition, key, is_full)
), look as materialized (
  select f.partition, d.tid, d.seq, d.key
  from fence as f
  {log_cursor}
  cross join lateral (
    (
      select m.ctid as tid, m.seq, m.key, false as logged
      from {message} as m
      where m.partition = f.partition and m.state = 0
        and m.seq not in (select unnest($7::bigint[]))
      order by m.seq
      limit 1024
    ){log_pending}
    union all
    (
      select m.ctid, m.seq, m.key, false
      from {message} as m
      where m.partition = f.partition and m.state = 1 and m.due_at <= (select {clock}())
        and m.seq not in (select unnest($7::bigint[]))
      order by m.due_at
      limit 1000
    )
  ) as d
  {log_left}
), due as materialized (
  select l.tid
  from look as l
  join named as n on n.partition = l.partition and n.key = l.key
  where n.is_full or l.seq > n.blocker
), moved as (
  update {message} as m set state = 2, due_at = null
  where m.ctid = any(array(select tid from due)) and m.state in (0, 1, 6)
  returning m.partition, m.key, m.seq
)
select partition, key, min(seq), count(*)
from moved
where (select set_config('synchronous_commit', 'off', true)) is not null
group by partition, key
";

/// Makes waiting rows pending. `$1` queue, `$2` partitions, `$3` their epochs, `$4` partitions of
/// the keys, `$5` the keys. The fence locks the partitions FOR SHARE in order; a partition that was
/// taken meanwhile is not in it, and nothing of it moves. Of each key the oldest 256 blockers are
/// read by the index `message_blocker`, and those before the first that is not waiting are moved.
const RELEASE: &str = "
with {fence}, ready as materialized (
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
  where w.clear{log_first}
), moved as (
  update {message} as m set state = 0
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
{log_sweep}";

/// That the row `d` is not left to `PARK`, of a log. Asked of what was found, so that a crowd ends the
/// look like any other rows.
const LEFT: &str = "where not (d.logged and d.seq > k.upto and exists (
      select from unnest(k.parked_keys, k.parked_first) as parked (key, first)
      where parked.key = d.key and parked.first < d.seq
    ))";

/// The first parked row of the key `n`, of a log.
const PARKED: &str = "(
      select parked.first
      from {cursor} as k
      cross join lateral unnest(k.parked_keys, k.parked_first) as parked (key, first)
      where k.partition = n.partition and parked.key = n.key
    )";

/// That nothing of the key `k` is parked in front of the waiting row `w`, of a log.
const FIRST: &str = "
    and not exists (
      select from {cursor} as c
      cross join lateral unnest(c.parked_keys, c.parked_first) as parked (key, first)
      where c.partition = k.partition and parked.key = k.key and parked.first < w.seq
    )";

/// The parked keys of a log with nothing in front of them that blocks.
const SWEEP_PARKED: &str = "union all
select s.partition, parked.key, true, false
from unnest($1::smallint[]) as s (partition)
join {cursor} as k on k.partition = s.partition
cross join lateral unnest(k.parked_keys, k.parked_first) as parked (key, first)
where not exists (
  select from {message} as b
  where b.partition = s.partition and b.key = parked.key and {blocks} and b.seq < parked.first
)
";

/// The statements that move rows between pending and waiting.
#[derive(Debug)]
pub(crate) struct WaitingSql {
    pub(crate) set_aside: Statement,
    pub(crate) release: Statement,
    pub(crate) sweep: Statement,
}

impl WaitingSql {
    pub(super) fn new(names: &Names) -> Self {
        let log = names.shelf.is_log();
        let (cursor, pending) = if log {
            let held = "
        and m.seq not in (select unnest($7::bigint[]))";
            let columns = "m.ctid, m.seq, m.key, true";
            (
                log::cursor("f.partition"),
                log::pending(columns, "f.partition", held, "order by m.seq limit 1024"),
            )
        } else {
            (String::new(), String::new())
        };
        let set_aside = SET_ASIDE
            .replace("{log_cursor}", &cursor)
            .replace("{log_pending}", &pending)
            .replace("{log_parked}", if log { PARKED } else { "null" })
            .replace("{log_left}", if log { LEFT } else { "" });
        let release = RELEASE.replace("{log_first}", if log { FIRST } else { "" });
        let sweep = SWEEP.replace("{log_sweep}", if log { SWEEP_PARKED } else { "" });
        Self {
            set_aside: Statement::new(names, &set_aside),
            release: Statement::new(names, &release),
            sweep: Statement::new(names, &sweep),
        }
    }
}
