//! The log: which of its rows are pending, which are done, and the settlement that moves a cursor.
//!
//! The outbox is a log. A row is inserted as *logged* (state 6) and stays as it was inserted: it is
//! pending until the cursor of its partition has taken it, and done from then on. Rows with any other
//! state are apart from the log. The rows of handlers are none of this.
//!
//! The cursor (table `cursor`) is a snapshot `seen`, a seq `upto`, and a list of seqs `ahead`. It has
//! taken what was visible in `seen` with a seq up to `upto`, and what is in `ahead`. It never takes a
//! row that nobody looked at: whether a row was visible in a snapshot is known of the transaction that
//! inserted it, the column `xid`, so that a transaction that commits late, with a seq that the cursor
//! went past long ago, is not visible in `seen` and pending. The idea of reading by snapshots is that
//! of `PgQ`; see `docs/decisions/0110-the-outbox-is-a-log.md`.

use super::{Names, Statement, names::Shelf};

/// Whether the cursor has taken the logged row `m`. By the primary key of `cursor`.
const COVERED: &str = "exists (
    select from {cursor} as k
    where k.partition = m.partition and (
      (m.seq <= k.upto and pg_catalog.pg_visible_in_snapshot(m.xid, k.seen))
      or m.seq = any (k.ahead)
    )
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
            "(case when m.state <> 6 then m.state when {covered} then 4 else 0 end)::smallint",
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
}

/// The logged rows of a partition that are pending, as further parts of a union: those behind the
/// cursor by the primary key, and those that were committed late by the index `message_xid`. `partition`
/// is an expression for the partition, `c` the row of its cursor; each part ends with `tail`.
///
/// The late ones are looked up first and sorted then (`offset`): to the planner, who does not know how
/// few they are, the primary key looks good since it has the order, and it would walk the whole history.
pub(super) fn pending(columns: &str, partition: &str, also: &str, tail: &str) -> String {
    let late = |which: &str| {
        format!(
            "
        union all
        (
          select {columns}
          from (
            select m.*, m.ctid from {{message}} as m
            where m.partition = {partition} and m.state = 6 and {which} and m.seq <= c.upto
            offset 0
          ) as m
          where m.seq <> all (c.ahead){also}
          {tail}
        )"
        )
    };
    [
        format!(
            "
        union all
        (
          select {columns}
          from {{message}} as m
          where m.partition = {partition} and m.state = 6 and m.seq > c.upto
            and m.seq <> all (c.ahead){also}
          {tail}
        )"
        ),
        late("m.xid >= pg_catalog.pg_snapshot_xmax(c.seen)"),
        late("m.xid = any (array(select pg_catalog.pg_snapshot_xip(c.seen)))"),
    ]
    .concat()
}

/// The row `c` of the cursor of a partition, as a further factor of a join.
pub(super) fn cursor(partition: &str) -> String {
    format!(
        "cross join lateral (
    select k.seen, k.upto, k.ahead from {{cursor}} as k where k.partition = {partition} offset 0
  ) as c"
    )
}

/// How many finished rows a cursor lists beside its snapshot. What is in their way then leaves the log.
const AHEAD_MAX: usize = 1_024;

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
/// * `hint`: the snapshot of a fetch takes the place of `seen` if it is a later one, and if no row that
///   it adds below `upto` is unfinished (`late`).
/// * `gap`: the first row behind `upto` that was visible in the snapshot and is not finished. The cursor
///   goes up to it, or to the last finished row.
/// * Finished rows that are not taken so are listed in `ahead`. When these become too many, the
///   unfinished rows in front of them leave the log (`spilled`): they become pending by their state, and
///   what this statement sees takes the place of `seen`. They are no more than the caller has at hand.
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
  select k.partition, k.seen, k.upto, k.ahead, k.ahead_xids, h.hint::pg_snapshot as hint
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
    (g.seq <= p.upto and pg_catalog.pg_visible_in_snapshot(g.xid, p.seen))
      or g.seq in (select seq from ahead) as known
  from given as g
  join place as p on p.partition = g.partition
  where g.plain
), finished as materialized (
  select partition, seq, xid from ahead
  union all
  select partition, seq, xid from logged where not known
), rules as materialized (
  select p.partition, p.seen, p.upto, p.hint, greatest(p.upto, f.top) as top,
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
  select r.partition, r.seen as before, r.upto, r.top, r.fresh,
    case when r.fresh and r.later and not late.any then r.hint else r.seen end as seen,
    r.fresh and r.later and not late.any as adopted
  from rules as r
  cross join lateral (
    select case when not (r.fresh and r.later) then false else exists (
      select from (
        select m.seq, m.xid from {message} as m
        where m.partition = r.partition and m.state = 6
          and m.xid >= pg_catalog.pg_snapshot_xmax(r.seen) and m.seq <= r.upto
        offset 0
      ) as m
      where pg_catalog.pg_visible_in_snapshot(m.xid, r.hint)
        and m.seq not in (select seq from finished)
    ) or exists (
      select from (
        select m.seq, m.xid from {message} as m
        where m.partition = r.partition and m.state = 6
          and m.xid = any (array(select pg_catalog.pg_snapshot_xip(r.seen))) and m.seq <= r.upto
        offset 0
      ) as m
      where pg_catalog.pg_visible_in_snapshot(m.xid, r.hint)
        and m.seq not in (select seq from finished)
    ) end as any
    offset 0
  ) as late
), reach as materialized (
  select t.partition, t.before, t.seen, t.upto as old, t.top, t.fresh, t.adopted,
    case when t.fresh then coalesce(gap.seq - 1, t.top) else t.upto end as upto
  from target as t
  left join lateral (
    select m.seq
    from {message} as m
    where m.partition = t.partition and m.seq > t.upto and m.state = 6
      and pg_catalog.pg_visible_in_snapshot(m.xid, t.seen)
      and m.seq not in (select seq from finished)
    order by m.seq
    limit 1
  ) as gap on t.fresh
), rest as materialized (
  select f.partition, array_agg(f.seq) as seqs, array_agg(f.xid) as xids, count(*) as count
  from finished as f
  join reach as r on r.partition = f.partition
  where not (f.seq <= r.upto and pg_catalog.pg_visible_in_snapshot(f.xid, r.seen))
  group by f.partition
), crowded as materialized (
  select r.partition, r.before, r.old, r.top
  from reach as r
  join rest on rest.partition = r.partition
  where r.fresh and rest.count > {ahead_max}
), spilled as (
  update {message} as m set state = 0
  from (
    select c.partition, s.seq
    from crowded as c
    cross join lateral (
      (
        select m.seq from {message} as m
        where m.partition = c.partition and m.state = 6 and m.seq > c.old and m.seq <= c.top
          and m.seq not in (select seq from finished)
      )
      union
      (
        select m.seq from {message} as m
        where m.partition = c.partition and m.state = 6
          and m.xid >= pg_catalog.pg_snapshot_xmax(c.before) and m.seq <= c.old
          and m.seq not in (select seq from finished)
      )
      union
      (
        select m.seq from {message} as m
        where m.partition = c.partition and m.state = 6
          and m.xid = any (array(select pg_catalog.pg_snapshot_xip(c.before))) and m.seq <= c.old
          and m.seq not in (select seq from finished)
      )
    ) as s
  ) as s
  where m.partition = s.partition and m.seq = s.seq and m.state = 6
), moved as (
  update {cursor} as k
  set seen = case when c.partition is null then r.seen else now.snapshot end,
    upto = case when c.partition is null then r.upto else r.top end,
    ahead = case when c.partition is null then coalesce(rest.seqs, '{}') else '{}' end,
    ahead_xids = case when c.partition is null then coalesce(rest.xids, '{}') else '{}' end
  from reach as r
  cross join now
  left join rest on rest.partition = r.partition
  left join crowded as c on c.partition = r.partition
  where k.partition = r.partition
  returning k.partition, r.adopted or c.partition is not null as adopted
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
  where m.partition = n.partition and m.seq = n.seq and m.state = 6
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
    pub(crate) purge: Statement,
}

impl LogSql {
    pub(super) fn new(names: &Names) -> Self {
        let done = DONE.replace("{ahead_max}", &AHEAD_MAX.to_string());
        Self {
            done: Statement::new(names, &done),
            purge: Statement::new(names, PURGE),
        }
    }
}
