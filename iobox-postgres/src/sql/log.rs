//! The log: which of its rows are pending, which are done, and the settlement that moves a cursor.
//!
//! The outbox is a log. A row is inserted as *logged* (state 6) and stays as it was inserted: it is
//! pending until the cursor of its partition has taken it, and done from then on. Rows with any other
//! state are apart from the log. The rows of handlers are none of this.
//!
//! The cursor (table `cursor`) is a snapshot `seen`, a seq `upto`, and two short lists of seqs, `behind`
//! and `ahead`. It has taken what was visible in `seen` with a seq up to `upto` that is not in `behind`,
//! and what is in `ahead`. It never takes a row that nobody looked at: whether a row was visible in a
//! snapshot is known of the transaction that inserted it, the column `xid`, so that a transaction that
//! commits late, with a seq that the cursor went past long ago, is not visible in `seen` and pending. The
//! idea of reading by snapshots is that of `PgQ`; see `docs/decisions/0110-the-outbox-is-a-log.md`.
//!
//! A key with very many rows that wait is *parked*: the cursor names it, with the first and the last of
//! these rows, and goes past them. Of a parked key all logged rows from the first to the last are
//! waiting, whether the cursor has gone past them or not; see `docs/decisions/0111-crowds-are-parked.md`.

use super::{Names, Statement, names::Shelf};

/// Whether the cursor `k` has taken the logged row `m`, or passed it since its key is parked.
const TAKEN: &str = "(
    (m.seq <= k.upto and pg_catalog.pg_visible_in_snapshot(m.xid, k.seen) and m.seq <> all (k.behind))
    or m.seq = any (k.ahead)
  )";

/// Whether the logged row `m` waits, since the cursor `k` says that its key is parked.
const ASIDE: &str = "(cardinality(k.parked_keys) > 0 and exists (
    select from unnest(k.parked_keys, k.parked_first, k.parked_last) as parked (key, first, last)
    where parked.key = m.key and m.seq between parked.first and parked.last
  ))";

/// Whether the logged row `m` is done. By the primary key of `cursor`.
const COVERED: &str = "exists (
    select from {cursor} as k where k.partition = m.partition and {taken} and not {aside}
  )";

/// Whether the logged row `m` waits. By the primary key of `cursor`.
const PARKED: &str = "exists (
    select from {cursor} as k where k.partition = m.partition and {aside}
  )";

/// When a row was settled; of a logged one that is done the row of `settled` says so, found by the
/// primary key of it: the nearest that begins before the seq, or one close by.
const SETTLED_AT: &str = "coalesce(m.settled_at, case when m.state = 6 and {covered} then (
    select s.at from {settled} as s
    where s.partition = m.partition and s.first <= m.seq and s.last >= m.seq
      and m.seq = any (s.seqs)
    order by s.first desc
    limit 1
  ) end)";

/// Fills in what differs between rows that are a log and rows that are not: `{open}` whether a row is
/// not settled, `{done}` whether it is done, `{shown}` its state for everybody else, `{attempts}`,
/// `{revisions}` and `{settled_at}` what a settlement of it has recorded.
pub(super) fn place(shelf: &Shelf, template: &str) -> String {
    if !shelf.is_log() {
        return template
            .replace("{open}", "m.state in (0, 1, 2)")
            .replace("{done}", "m.state = 4")
            .replace("{shown}", "m.state")
            .replace("{attempts}", "m.attempt")
            .replace("{revisions}", "m.revision")
            .replace("{settled_at}", "m.settled_at");
    }
    template
        .replace(
            "{open}",
            "(m.state in (0, 1, 2) or (m.state = 6 and not {covered}))",
        )
        .replace("{done}", "(m.state = 4 or (m.state = 6 and {covered}))")
        .replace(
            "{shown}",
            "(case when m.state <> 6 then m.state when {parked} then 2 when {covered} then 4
    else 0 end)::smallint",
        )
        .replace(
            "{attempts}",
            "(case when m.state = 6 and {covered} then 1 else m.attempt end)",
        )
        .replace(
            "{revisions}",
            "(case when m.state = 6 and {covered} then m.revision + 1 else m.revision end)",
        )
        .replace("{settled_at}", SETTLED_AT)
        .replace("{covered}", COVERED)
        .replace("{parked}", PARKED)
        .replace("{taken}", TAKEN)
        .replace("{aside}", ASIDE)
}

/// That a row `m` is logged, for a statement that goes by the primary key: written so that the planner,
/// who knows nothing of a young table, has no use for the index `message_xid`, by which it would read a
/// whole partition.
const LOGGED: &str = "m.state + 0 = 6";

/// That a row `m` of a partition is logged, for a statement that goes by the index `message_xid`: written
/// so that no other index serves.
const LOGGED_OF: &str = "m.state = 6 and m.partition::integer = ";

/// The logged rows of a partition that are pending, as further parts of a union: those behind the
/// cursor and those that it left by the primary key, and those that were committed late by the index
/// `message_xid`. `partition` is an expression for the partition, `k` the row of its cursor; each part
/// ends with `tail`.
///
/// The late ones are looked up first and sorted then (`offset`): to the planner, who does not know how
/// few they are, the primary key looks good since it has the order, and it would walk the whole history.
pub(super) fn pending(columns: &str, partition: &str, also: &str, tail: &str) -> String {
    let part = |from: &str, which: &str| {
        format!(
            "
        union all
        (
          select {columns}
          from {from} as m
          where {which}m.seq <> all (k.ahead) and not {{aside}}{also}
          {tail}
        )"
        )
    };
    let late = |which: &str| {
        format!(
            "select m.*, m.ctid from {{message}} as m
            where {LOGGED_OF}{partition}::integer and {which} and m.seq <= k.upto
            offset 0"
        )
    };
    let running = format!(
        "(
            select m.* from pg_catalog.pg_snapshot_xip(k.seen) as x (xid) cross join lateral (
            {}
            ) as m
          )",
        late("m.xid = x.xid")
    );
    let later = format!(
        "(
            {}
          )",
        late("m.xid >= pg_catalog.pg_snapshot_xmax(k.seen)")
    );
    let left = format!(
        "(
            select m.*, m.ctid
            from unnest(k.behind) as b (seq)
            join {{message}} as m on m.partition = {partition} and m.seq = b.seq
            where {LOGGED}
            offset 0
          )"
    );
    [
        part(
            "{message}",
            &format!("m.partition = {partition} and m.seq > k.upto and {LOGGED} and "),
        ),
        part(&later, ""),
        part(&running, ""),
        part(&left, ""),
    ]
    .concat()
}

/// The row `k` of the cursor of a partition, as a further factor of a join.
pub(super) fn cursor(partition: &str) -> String {
    format!(
        "cross join lateral (
    select k.seen, k.upto, k.behind, k.ahead, k.parked_keys, k.parked_first, k.parked_last
    from {{cursor}} as k where k.partition = {partition} offset 0
  ) as k"
    )
}

/// The logged rows that wait, of the cursor `k`, as a further factor `m` of a join: by the primary key.
pub(super) fn parked(columns: &str) -> String {
    format!(
        "cross join lateral (
    select {columns}
    from unnest(k.parked_keys, k.parked_first, k.parked_last) as parked (key, first, last)
    cross join lateral (
      select m.* from {{message}} as m
      where m.partition = k.partition and m.seq between parked.first and parked.last
        and {LOGGED} and m.key = parked.key
      offset 0
    ) as m
  ) as m"
    )
}

/// How many finished rows a cursor lists beside its snapshot. What is in their way is listed then, or
/// leaves the log.
const AHEAD_MAX: usize = 1_024;
/// How many unfinished rows a cursor lists that it went past.
const BEHIND_MAX: usize = 256;

/// Settles messages that were executed. After the parameters of the fence: `$4` partitions, `$5` seqs,
/// `$6` revisions, `$7` attempts, `$8` whether the broker knew them; `$9` for each partition of the
/// fence a snapshot of an earlier fetch, or null.
///
/// Rows by the primary key. A logged row is not written: its cursor takes it (`finished`). One that
/// needs a word of its own, since the broker knew it or it was not the first attempt, and one that is
/// apart from the log, is updated (`changed`).
///
/// A cursor is locked FOR UPDATE, behind the fence and in the same order. Then, for each one:
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
  select i.ord, i.partition, i.seq, i.revision, i.attempt, i.duplicate, m.state, m.xid,
    m.state = 6 and i.attempt = 1 and not i.duplicate as plain
  from unnest($4::smallint[], $5::bigint[], $6::integer[], $7::integer[], $8::boolean[])
    with ordinality as i (partition, seq, revision, attempt, duplicate, ord)
  join {message} as m on m.partition = i.partition and m.seq = i.seq and m.revision = i.revision
  where i.partition = any (array(select partition from fence)) and m.state in (0, 1, 2, 6)
), place as materialized (
  select k.partition, k.seen, k.upto, k.behind, k.ahead, k.ahead_xids, k.parked_keys,
    k.parked_first, k.parked_last, h.hint::pg_snapshot as hint
  from {cursor} as k
  join unnest($2::smallint[], $9::text[]) as h (partition, hint) on h.partition = k.partition
  where k.partition = any (array(select partition from fence))
    and k.partition in (select partition from given where plain)
  order by k.partition
  for update of k
), ahead as materialized (
  select p.partition, a.seq, a.xid
  from place as p cross join lateral unnest(p.ahead, p.ahead_xids) as a (seq, xid)
), logged as materialized (
  select g.ord, g.partition, g.seq, g.xid,
    (g.seq <= p.upto and pg_catalog.pg_visible_in_snapshot(g.xid, p.seen)
      and g.seq <> all (p.behind))
      or g.seq in (select seq from ahead) as known
  from given as g
  join place as p on p.partition = g.partition
  where g.plain
), finished as materialized (
  select partition, seq, xid from ahead
  union all
  select partition, seq, xid from logged where not known
), rules as materialized (
  select p.partition, p.hint, greatest(p.upto, f.top) as top,
    pg_catalog.pg_snapshot_xmax(p.seen) <= pg_catalog.pg_snapshot_xmax(now.snapshot)
      and not exists (
        select from pg_catalog.pg_snapshot_xip(now.snapshot) as x (xid)
        where pg_catalog.pg_visible_in_snapshot(x.xid, p.seen)
      ) as fresh,
    p.hint is not null
      and pg_catalog.pg_snapshot_xmax(p.hint) >= pg_catalog.pg_snapshot_xmax(p.seen)
      and not exists (
        select from pg_catalog.pg_snapshot_xip(p.hint) as x (xid)
        where pg_catalog.pg_visible_in_snapshot(x.xid, p.seen)
      )
      and pg_catalog.pg_snapshot_xmax(p.hint) <= pg_catalog.pg_snapshot_xmax(now.snapshot)
      and not exists (
        select from pg_catalog.pg_snapshot_xip(now.snapshot) as x (xid)
        where pg_catalog.pg_visible_in_snapshot(x.xid, p.hint)
      ) as later
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
      select from (
        select m.seq, m.xid, m.key from {message} as m
        where {logged_of}r.partition::integer
          and m.xid >= pg_catalog.pg_snapshot_xmax(k.seen) and m.seq <= k.upto
        offset 0
      ) as m
      where pg_catalog.pg_visible_in_snapshot(m.xid, r.hint)
        and m.seq not in (select seq from finished) and not {aside}
    ) or exists (
      select from (
        select m.*
        from pg_catalog.pg_snapshot_xip(k.seen) as x (xid)
        cross join lateral (
          select m.seq, m.xid, m.key from {message} as m
          where {logged_of}r.partition::integer and m.xid = x.xid and m.seq <= k.upto
          offset 0
        ) as m
      ) as m
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
  from given as g
  where not g.plain and m.partition = g.partition and m.seq = g.seq and m.revision = g.revision
    and {open}
  returning g.ord
)
select
  array(select partition from fence) as held,
  array(select ord from changed union all select ord from logged) as applied,
  array(select partition from moved where adopted) as adopted
";

/// How many rows one look at a crowd takes in.
const LOOK: usize = 1_024;
/// How many of them a key must have so that it is parked.
const CROWD: usize = 256;
/// How many keys of a partition are parked at most.
const PARKED_MAX: usize = 16;

/// Parks keys whose rows are in the way in crowds, or takes more rows of those that are parked. `$1`
/// queue, `$2` partitions, `$3` their epochs, `$4` partitions of the keys, `$5` the keys, `$6` whether
/// each is full, `$7` seqs that are held. Returns what became waiting.
///
/// Locks the partitions FOR SHARE and their cursors FOR UPDATE, as a settlement does, and does nothing
/// for one that has seen more than this statement sees. Of each it looks at the oldest rows behind the
/// cursor, by the primary key (`look`). A key is parked from the first of its rows there to the last,
/// if there are many, if none of its rows behind the first is held or finished, and if there is room;
/// a key that is parked already has its last row moved up. No row is written.
///
/// Then the cursor goes past them, in the way of a settlement: to the first row that is none of these.
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
  where pg_catalog.pg_snapshot_xmax(k.seen) <= pg_catalog.pg_snapshot_xmax(now.snapshot)
    and not exists (
      select from pg_catalog.pg_snapshot_xip(now.snapshot) as x (xid)
      where pg_catalog.pg_visible_in_snapshot(x.xid, k.seen)
    )
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
  select k.partition, m.seq, m.key
  from fresh as k
  cross join lateral (
    select m.seq, m.key
    from {message} as m
    where m.partition = k.partition and m.seq > k.upto and {logged}
      and m.seq <> all (k.ahead) and not {aside}
      and m.seq not in (select unnest($7::bigint[]))
    order by m.seq
    limit {look}
  ) as m
), crowd as materialized (
  select n.partition, n.key, n.parked, min(l.seq) as first, max(l.seq) as last, count(*) as count
  from look as l
  join named as n on n.partition = l.partition and n.key = l.key
  where case when n.parked is null then n.is_full or l.seq > n.blocker else l.seq > n.parked end
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
), reach as materialized (
  select k.*, coalesce(gap.seq - 1, greatest(k.upto, k.top)) as goal
  from target as k
  left join lateral (
    select m.seq
    from {message} as m
    where m.partition = k.partition and m.seq > k.upto and {logged}
      and pg_catalog.pg_visible_in_snapshot(m.xid, k.seen)
      and m.seq <> all (k.ahead) and not {aside}
      and (m.partition, m.seq) not in (select partition, seq from front)
    order by m.seq
    limit 1
  ) as gap on (
    select count(*) from front as f where f.partition = k.partition
  ) + cardinality(k.behind) <= {behind_max}
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
select partition, key, first, count from taken
";

/// How many rows one release walks over to find those of its key.
const WALK: usize = 16_384;

/// Makes rows of parked keys pending: `$1` queue, `$2` partitions, `$3` their epochs, `$4` partitions of
/// the keys, `$5` the keys. Returns the keys of which there were any.
///
/// Locks as `PARK` does, and does nothing for a cursor that has seen more than this statement. Of a key
/// that nothing blocks in front of its first parked row, the oldest 256 leave the log as pending, found
/// by a walk over the primary key. The rest stays parked, from the next one on; a row that commits later
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
  where pg_catalog.pg_snapshot_xmax(k.seen) <= pg_catalog.pg_snapshot_xmax(now.snapshot)
    and not exists (
      select from pg_catalog.pg_snapshot_xip(now.snapshot) as x (xid)
      where pg_catalog.pg_visible_in_snapshot(x.xid, k.seen)
    )
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
    parked_last = coalesce(l.last, '{}')
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

/// The statements that only a log has.
#[derive(Debug)]
pub(crate) struct LogSql {
    pub(crate) done: Statement,
    pub(crate) park: Statement,
    pub(crate) unpark: Statement,
    pub(crate) purge: Statement,
}

impl LogSql {
    pub(super) fn new(names: &Names) -> Self {
        let gaps = pending("m.seq", "r.partition", " and m.seq <= r.top", "");
        let late = pending("m.seq", "f.partition", " and m.seq <= k.upto", "");
        let bounds = [
            ("{ahead_max}", AHEAD_MAX),
            ("{behind_max}", BEHIND_MAX),
            ("{look}", LOOK),
            ("{crowd}", CROWD),
            ("{parked_max}", PARKED_MAX),
            ("{walk}", WALK),
        ];
        let new = |template: &str| {
            let text = template
                .replace("{gaps}", &gaps)
                .replace("{late}", &late)
                .replace("{logged}", LOGGED)
                .replace("{logged_of}", LOGGED_OF);
            let text = bounds.iter().fold(text, |text, (name, bound)| {
                text.replace(name, &bound.to_string())
            });
            Statement::new(names, &text)
        };
        Self {
            done: new(DONE),
            park: new(PARK),
            unpark: new(UNPARK),
            purge: new(PURGE),
        }
    }
}
