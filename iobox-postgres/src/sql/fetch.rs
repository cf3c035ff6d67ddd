//! The statement of fetching.

use super::{Names, Statement, log};

/// What is due. `$1` partitions in the order in which they are served, `$2` the most rows of each,
/// `$3` seqs that are held, `$4` keys that are full, `$5` the most rows in all, `$6` the most bytes,
/// `$7` the partitions of the full keys. Takes no locks; everything comes from the snapshot of the one statement.
///
/// `visit` goes from partition to partition and stops when enough was found; with `$5` 0 it goes to
/// all. Where nothing blocks, no key is full and the bytes suffice, it takes the oldest of the pending
/// rows by the index `message_pending` and of the 1,000 longest due by `message_due` (`plain`). Else
/// it is careful: it reads at most `2 * limit` pending rows and the 1,000 longest due, or `2 * limit`;
/// one more of each to see whether there is more. Kinds: 0 may run, 1 of a full key, 2 blocked, found
/// by the index `message_blocker`. It keeps the places (`ctid`) of the rows that may run; within a
/// snapshot they are as good as the key, and only these are read again, with their payload: those of a
/// partition in one scan, since a join that goes to each place takes two fifths longer in all. Of the
/// others it keeps the keys, at most 256 of a partition, whose rows are in the way. The pending rows are
/// the oldest of all kinds together: were each kind cut on its own, a row of one could come before an
/// earlier one of its key that another does not reach.
///
/// Held seqs and full keys are compared by hash. A seq is unique in the table, so that its partition
/// does not matter.
///
/// What happened to a row comes as one array, and not at all of a logged one, to which nothing did: as most
/// rows of most fetches.
///
/// The last part but one names the partitions that hold more; of one that was not visited it knows by
/// one look whether anything is due.
///
/// Of a log, pending rows are also the logged ones that no cursor has taken (`log::pending`), and a last
/// row has the snapshot in which all this was seen.
const FETCH: &str = r#"
with recursive now as materialized (
  select {clock}() as at
), request as materialized (
  select r.ord, r.partition, r.most
  from unnest($1::smallint[], $2::bigint[]) with ordinality as r (partition, most, ord)
), visit (ord, taken, bytes, runs, keys, more) as (
  select 0::bigint, 0::bigint, 0::bigint, null::tid[], null::text[] collate pg_catalog."C", false
  union all
  select r.ord,
    v.taken + coalesce(cardinality(case when mode.careful then w.runs else plain.runs end), 0),
    v.bytes + case when mode.careful then w.bytes else plain.bytes end,
    case when mode.careful then w.runs else plain.runs end,
    case when w.crowd >= greatest(r.most, 1) then w.stopped else w.blocked end,
    case when mode.careful then w.cut or w.ready > coalesce(cardinality(w.runs), 0)
      else plain.ready > room.most end
  from visit as v
  join request as r on r.ord = v.ord + 1
  {log_cursor}
  cross join lateral (
    select exists (select from {message} as b where b.partition = r.partition and {blocks})
      {log_crowds}as present
    offset 0
  ) as blockers
  cross join lateral (
    select blockers.present or r.partition = any($7::smallint[]) as present offset 0
  ) as obstacles
  cross join lateral (
    select least(r.most, $5 - v.taken) as most offset 0
  ) as room
  cross join lateral (
    select
      count(*) as ready,
      coalesce(sum(size), 0) - coalesce((array_agg(size))[room.most + 1], 0) as bytes,
      (array_agg(tid))[1:room.most] as runs
    from (
      select due.tid, due.size
      from (
        (
          select m.ctid as tid, m.seq, m.size
          from {message} as m
          where m.partition = r.partition and m.state = 0
            and m.seq not in (select unnest($3::bigint[]))
          order by m.seq
          limit room.most + 1
        ){log_plain}
        union all
        (
          select first_due.tid, first_due.seq, first_due.size
          from (
            select m.ctid as tid, m.seq, m.size
            from {message} as m
            where m.partition = r.partition and m.state = 1
              and m.due_at <= (select at from now)
              and m.seq not in (select unnest($3::bigint[]))
            order by m.due_at
            limit greatest(room.most, 1000) + 1
          ) as first_due
          order by first_due.seq
        )
      ) as due
      order by due.seq
      limit room.most + 1
    ) as oldest
    where not obstacles.present
  ) as plain
  cross join lateral (
    select obstacles.present or v.bytes + plain.bytes > $6 as careful offset 0
  ) as mode
  cross join lateral (
    select 2 * r.most + 1 as most offset 0
  ) as window_pending
  cross join lateral (
    select greatest(2 * r.most, 1000) + 1 as most offset 0
  ) as window_due
  cross join lateral (
    select
      count(*) filter (where kind = 0) as ready,
      count(*) filter (where early) >= window_due.most
        or count(*) filter (where not early) >= window_pending.most as cut,
      count(*) filter (where kind = 1) as crowd,
      coalesce(max(upto) filter (where runs), 0)::bigint as bytes,
      array_agg(tid) filter (where runs) as runs,
      (array_agg(distinct key) filter (where kind = 2))[1:256] as blocked,
      (array_agg(distinct key) filter (where kind in (1, 2)))[1:256] as stopped
    from (
      select tid, early, kind, upto, key,
        kind = 0 and place <= room.most
          and (v.bytes + upto <= $6 or (v.taken = 0 and place = 1)) as runs
      from (
        select tid, early, kind, key,
          count(*) filter (where kind = 0) over in_order as place,
          sum(size) filter (where kind = 0) over in_order as upto
        from (
          select tid, early, seq, size, key,
            case
              when key is null then 0
              when blockers.present and exists (
                select from {message} as b
                where b.partition = r.partition and b.key = due.key and b.seq < due.seq
                  and {blocks}
              ) then 2
              {log_blocked}              when (r.partition, key) in (select * from unnest($7::smallint[], $4::text[])) then 1
              else 0
            end as kind
          from (
            (
              select pending.tid, pending.early, pending.seq, pending.key, pending.size
              from (
                (
                  select m.ctid as tid, false as early, m.seq, m.key, m.size
                  from {message} as m
                  where m.partition = r.partition and m.state = 0
                    and m.seq not in (select unnest($3::bigint[]))
                  order by m.seq
                  limit window_pending.most
                ){log_careful}
              ) as pending
              order by pending.seq
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
    where mode.careful
  ) as w
  where v.taken < greatest($5, 1) and (v.bytes < $6 or v.taken = 0)
)
select false, m.partition, m.seq,
  case when m.state <> 6 then array[m.revision, m.attempt, m.crashes, m.uncertain::integer,
    m.alone::integer, m.suspect::integer] end,
  m.key, m.size,
  (date_part('epoch', (select at from now) - m.enqueued_at) * 1000000)::bigint as age,
  m.id, m.topic, {content}
from visit as v
cross join lateral (
  select * from {message} as m where m.ctid = any (v.runs) offset 0
) as m
{with_content}
union all
select true, r.partition, null, null, k.key, null, null, null, null, null, null, null
from visit as v
join request as r on r.ord = v.ord
cross join lateral unnest(v.keys) as k (key)
union all
select null, r.partition, null, null, null, null, null, null, null, null, null, null
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
  ){log_more} end
{log_snapshot}"#;

/// What is behind a parked row of its key is blocked too.
const BLOCKED: &str = "when due.key = any (k.parked_keys) and exists (
                select from unnest(k.parked_keys, k.parked_first) as parked (key, first)
                where parked.key = due.key and parked.first < due.seq
              ) then 2
              ";

/// A row without a partition, whose key is the snapshot.
const SNAPSHOT: &str = "union all
select null, null, null, null, pg_catalog.pg_current_snapshot()::text, null, null, null, null, null,
  null, null
";

/// The statement of fetching.
#[derive(Debug)]
pub(crate) struct FetchSql {
    pub(crate) fetch: Statement,
}

impl FetchSql {
    pub(super) fn new(names: &Names) -> Self {
        let template = if names.shelf.is_log() {
            let held = "
            and m.seq not in (select unnest($3::bigint[]))";
            let part = |columns, tail| log::pending(columns, "r.partition", held, tail);
            let plain = part(
                "m.ctid as tid, m.seq, m.size",
                "order by m.seq limit room.most + 1",
            );
            let careful = part(
                "m.ctid as tid, false as early, m.seq, m.key, m.size",
                "order by m.seq limit window_pending.most",
            );
            // A partition that was not visited has its cursor looked up here.
            let more = format!(
                " or exists (
    select from (select r.partition) as h
    {}
    where exists (
        (select 1 where false){}
    )
  )",
                log::cursor("h.partition"),
                log::pending("1", "h.partition", held, "limit 1")
            );
            FETCH
                .replace("{log_cursor}", &log::cursor("r.partition"))
                .replace("{log_crowds}", "or cardinality(k.parked_keys) > 0 ")
                .replace("{log_blocked}", BLOCKED)
                .replace("{log_plain}", &plain)
                .replace("{log_careful}", &careful)
                .replace("{log_more}", &more)
                .replace("{log_snapshot}", SNAPSHOT)
        } else {
            let parts = [
                "cursor", "crowds", "blocked", "plain", "careful", "more", "snapshot",
            ];
            parts.iter().fold(FETCH.to_owned(), |text, part| {
                text.replace(&format!("{{log_{part}}}"), "")
            })
        };
        Self {
            fetch: Statement::new(names, &template),
        }
    }
}
