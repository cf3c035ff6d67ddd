//! Statements of administration, and of opening.

use super::{Names, Statement, log};

/// What the store is. By primary keys; no locks.
const META: &str = "
select meta.origin::text, meta.partitions,
  (select max(version) from {migration})::integer as version,
  -- Tables of before have no such column.
  (pg_catalog.to_jsonb(meta) ->> 'cluster') is not distinct from
    (select system_identifier::text from pg_catalog.pg_control_system()) as native,
  pg_catalog.current_setting('server_encoding') as encoding
from {meta} as meta
";

/// Counts rows that are not settled, each state by its own partial index: `message_pending`,
/// `message_due`, `message_blocker` (waiting rows have a key) and `message_dead`; of a log also the
/// logged rows that are pending (`log::pending`).
const COUNTS: &str = "
with logged as materialized (
  select count(*) as count, min(l.enqueued_at) as oldest
  from {log_pending}
), parked as materialized (
  select count(*) as count, min(l.enqueued_at) as oldest
  from {log_parked}
)
select
  (select count(*) from {message} where state = 0{own}) + (select count from logged),
  (select count(*) from {message} where state = 1{own}),
  (select count(*) from {message} where state = 2 and key is not null{own})
    + (select count from parked),
  (select count(*) from {message} where state = 3{own}),
  (select count(*) from (
    select distinct b.partition, b.key from {message} as b where {blocks} and b.state = 3{own}
  ) as halted),
  (select (extract(epoch from {clock}() - least(
    (select oldest from logged),
    (select oldest from parked),
    (select min(enqueued_at) from {message} where state = 0{own}),
    (select min(enqueued_at) from {message} where state = 1{own}),
    (select min(enqueued_at) from {message} where state = 2 and key is not null{own})
  )) * 1000000)::bigint)
";

/// Who works which partition: `$1` queue. By the primary key.
const PARTITIONS: &str = "
select partition, owner::text, epoch from {partition} where queue = $1 order by partition
";

/// Who is alive: `$1` queue. By the primary key.
const INSTANCES: &str = "
select id::text, in_flight,
  (extract(epoch from now.at - started) * 1000000)::bigint,
  (extract(epoch from expires - now.at) * 1000000)::bigint
from {instance} cross join (select {clock}() as at offset 0) as now
where queue = $1
order by started, id
";

/// Rows of the states `$1` in the partitions `$2`, of topic `$3` and key `$4` if given, behind seq
/// `$5`, at most `$6`, by seq. Each state by its own partial index (done and discarded: the
/// primary key), at most `$6` rows of each partition; a state that is not asked for costs nothing. Of a
/// log the pending rows are also those of `log::pending`, and the done ones those that the cursor took.
macro_rules! matching {
    () => {
        "
select m.partition, m.seq, m.state, m.revision, m.key
from unnest($2::smallint[]) as p (number)
{log_cursor}
cross join lateral (
  (select m.partition, m.seq, m.state, m.revision, m.key from {message} as m
    where m.partition = p.number and m.state = 0
    and 0 = any ($1::smallint[]) and ($3::text is null or m.topic = $3)
    and ($4::text is null or m.key = $4) and m.seq > $5 order by m.seq limit $6)
  union all
  (select m.partition, m.seq, m.state, m.revision, m.key from {message} as m
    where m.partition = p.number and m.state = 1
    and 1 = any ($1::smallint[]) and ($3::text is null or m.topic = $3)
    and ($4::text is null or m.key = $4) and m.seq > $5 order by m.seq limit $6)
  union all
  (select m.partition, m.seq, m.state, m.revision, m.key from {message} as m
    where m.partition = p.number and m.state = 2
    and m.key is not null
    and 2 = any ($1::smallint[]) and ($3::text is null or m.topic = $3)
    and ($4::text is null or m.key = $4) and m.seq > $5 order by m.seq limit $6)
  union all
  (select m.partition, m.seq, m.state, m.revision, m.key from {message} as m
    where m.partition = p.number and m.state = 3
    and 3 = any ($1::smallint[]) and ($3::text is null or m.topic = $3)
    and ($4::text is null or m.key = $4) and m.seq > $5 order by m.seq limit $6)
  union all
  (select m.partition, m.seq, m.state, m.revision, m.key from {message} as m
    where m.partition = p.number and m.state in (4, 5)
    and m.state = any ($1::smallint[]) and $1::smallint[] && array[4, 5]::smallint[]
    and ($3::text is null or m.topic = $3)
    and ($4::text is null or m.key = $4) and m.seq > $5 order by m.seq limit $6){log_matching}
) as m
order by m.seq
limit $6
"
    };
}

/// Rows with an id: `$1` states, `$2` id, `$3` the most rows, by seq. By the index `message_id`.
macro_rules! with_id {
    () => {
        "
select m.partition, m.seq, m.state, m.revision, m.key
from {message} as m
where m.id = $2 and {shown} = any ($1::smallint[]){own}
order by m.seq
limit $3
"
    };
}

/// Done rows that were settled in a span of time: `$1` states, `$2` and `$3` its ends in microseconds
/// since 1970, `$4` the most rows, by seq. By the index `message_settled`, and for logged rows by the
/// index `settled_at`.
macro_rules! settled_since {
    () => {
        "
select m.partition, m.seq, m.state, m.revision, m.key
from {message} as m
where m.state = 4 and m.state = any ($1::smallint[])
  and m.settled_at >= timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
  and m.settled_at <= timestamptz 'epoch' + $3::bigint * interval '1 microsecond'{own}
{log_settled}order by seq
limit $4
"
    };
}

/// Puts chosen rows back. The last but one parameter is the most rows but one, the last whether
/// nothing is to be changed. A row that somebody changed since the snapshot is left alone: its
/// revision is another one. Rows of a key that come after a chosen one and are done already are
/// found by one pass over the primary key behind the oldest chosen row of each partition; `offset` keeps
/// it one, where a join reads the whole table.
fn replay(select: &str, limit: &str, dry: &str) -> String {
    format!(
        "
with picked as materialized ({select}), chosen as materialized (
  select * from picked order by seq limit {limit} - 1
), oldest as materialized (
  select partition, min(seq) as seq from chosen where key is not null group by partition
), done as materialized (
  select o.partition, later.key, max(later.seq) as seq
  from oldest as o
  cross join lateral (
    select m.key, m.seq
    from {{message}} as m
    where m.partition = o.partition and m.seq > o.seq and {{done}}
      and (m.key in (select key from chosen)) is true
    offset 0
  ) as later
  group by o.partition, later.key
), number as materialized (
  select pg_catalog.nextval('{{replay_seq}}') as n
  where not {dry} and exists (select from chosen)
), changed as (
  update {{message}} as m
  set state = 0, revision = {{revisions}} + 1, attempt = 0, crashes = 0, suspect = false,
    alone = false, halts = false, due_at = null, settled_at = null, absorbed = false,
    replay = (select n from number)
  from chosen as c
  where not {dry} and m.partition = c.partition and m.seq = c.seq and m.revision = c.revision
    and m.state = c.state
  returning m.seq
)
select
  (select n from number),
  case when {dry} then (select count(*) from chosen) else (select count(*) from changed) end,
  (select count(*) from chosen as c
    join done as d on d.partition = c.partition and d.key = c.key and d.seq > c.seq),
  (select count(*) from picked) = {limit}
"
    )
}

/// Closes chosen rows; parameters as for a replay. A row whose state changed since the snapshot is left
/// alone; one that was only marked, set aside or released meanwhile is not.
fn discard(select: &str, limit: &str, dry: &str) -> String {
    format!(
        "
with picked as materialized ({select}), chosen as materialized (
  select * from picked order by seq limit {limit} - 1
), changed as (
  update {{message}} as m
  set state = 5, revision = m.revision + 1, halts = false, suspect = false, due_at = null,
    settled_at = (select {{clock}}())
  from chosen as c
  where not {dry} and m.partition = c.partition and m.seq = c.seq
    and (m.state = c.state or (m.state in (0, 2, 6) and c.state in (0, 2, 6)))
    and ({{open}} or m.state not in (0, 1, 2, 6))
  returning m.seq
)
select
  case when {dry} then (select count(*) from chosen) else (select count(*) from changed) end,
  (select count(*) from picked) = {limit}
"
    )
}

/// A page of rows: parameters as for the matching rows. Read again by the primary key.
const LIST: &str = concat!(
    "select m.id, m.partition, m.seq, {shown}, m.topic, m.key, {attempts}, m.uncertain, m.halts,
  m.reason,
  (extract(epoch from m.enqueued_at) * 1000000)::bigint,
  (extract(epoch from {settled_at}) * 1000000)::bigint
from (",
    matching!(),
    ") as c
join {message} as m on m.partition = c.partition and m.seq = c.seq
order by m.seq
"
);

/// One row with its payload: `$1` id. By the index `message_id`; the newest if an id came twice.
const GET: &str = "
select m.id, m.partition, m.seq, {shown}, m.topic, m.key, {attempts}, m.uncertain, m.halts,
  m.reason,
  (extract(epoch from m.enqueued_at) * 1000000)::bigint,
  (extract(epoch from {settled_at}) * 1000000)::bigint,
  {content}
from {message} as m
{with_content}
where m.id = $1{own}
order by m.seq desc
limit 1
";

/// How far a replay got: `$1` its number. By the index `message_replay`.
const PROGRESS: &str = "
select
  count(*) filter (where state in (0, 1, 2)),
  count(*) filter (where state = 4),
  count(*) filter (where state = 4 and absorbed),
  count(*) filter (where state = 3)
from {message}
where replay = $1
";

/// Removes what was settled longer ago than `$1` microseconds, at most `$2` rows, oldest first. By
/// the index `message_settled`; a row that somebody holds is left for the next time. The array keeps
/// the planner, which does not know `$2`, from joining with the whole table.
const PURGE: &str = "
with old as materialized (
  select m.ctid as tid from {message} as m
  where m.state in (4, 5)
    and m.settled_at < (select {clock}() - $1::bigint * interval '1 microsecond'){own}
  order by m.settled_at
  limit $2
  for update skip locked
)
delete from {message} as m where m.ctid = any (array(select tid from old)) and m.state in (4, 5)
";

/// Forgets ids that were claimed longer ago than `$1` microseconds and whose messages are gone, at
/// most `$2`. By the indexes `id_enqueued`, `message_id` and `id_pkey`; `offset` keeps the look for the
/// message a look by the index, where an anti-join would read all messages.
const PURGE_IDS: &str = "
with old as materialized (
  select known.id from {id} as known
  where known.enqueued_at < (select {clock}() - $1::bigint * interval '1 microsecond')
    and not exists (select from {message} as m where m.id = known.id offset 0)
  order by known.enqueued_at
  limit $2
  for update skip locked
)
delete from {id} as known where known.id = any (array(select id from old))
";

/// Holds the cursors of a log where they are, until the end of the transaction: what is pending there
/// and what is done stays so. Locks all of them FOR UPDATE in order, and counts, so that a settlement
/// that waits for one of them learns that what it sees is old.
const LOCK: &str = "
with locked as materialized (
  select k.partition from {cursor} as k order by k.partition for update
)
update {cursor} as k set changes = k.changes + 1
from locked as l
where k.partition = l.partition
";

/// The time by the clock of the store, in microseconds since 1970.
const NOW: &str = "select (extract(epoch from {clock}()) * 1000000)::bigint";

/// The statements for one way to select rows.
#[derive(Debug)]
pub(crate) struct SelectionSql {
    pub(crate) replay: Statement,
    pub(crate) discard: Statement,
}

impl SelectionSql {
    fn new(names: &Names, select: &str, limit: &str, dry: &str) -> Self {
        Self {
            replay: Statement::new(names, &with_log(names, &replay(select, limit, dry))),
            discard: Statement::new(names, &with_log(names, &discard(select, limit, dry))),
        }
    }
}

/// The statements of administration.
#[derive(Debug)]
pub(crate) struct AdminSql {
    pub(crate) meta: Statement,
    pub(crate) now: Statement,
    pub(crate) counts: Statement,
    pub(crate) partitions: Statement,
    pub(crate) instances: Statement,
    pub(crate) list: Statement,
    pub(crate) lock: Statement,
    pub(crate) get: Statement,
    /// States, id, limit, dry.
    pub(crate) one: SelectionSql,
    /// States, partitions, topic, key, after, limit, dry.
    pub(crate) matching: SelectionSql,
    /// States, microseconds, microseconds, limit, dry.
    pub(crate) settled_since: SelectionSql,
    pub(crate) progress: Statement,
    pub(crate) purge: Statement,
    pub(crate) purge_ids: Statement,
}

/// No rows, where a log would have some.
const NONE: &str = "(select null::timestamptz as enqueued_at where false) as l";

/// Puts in what is a matter of a log alone.
fn with_log(names: &Names, template: &str) -> String {
    let filled = |parts: [&str; 5]| {
        ["cursor", "matching", "settled", "pending", "parked"]
            .iter()
            .zip(parts)
            .fold(template.to_owned(), |text, (part, with)| {
                text.replace(&format!("{{log_{part}}}"), with)
            })
    };
    if !names.shelf.is_log() {
        return filled(["", "", "", NONE, NONE]);
    }
    let filter = "
    and ($3::text is null or m.topic = $3) and ($4::text is null or m.key = $4) and m.seq > $5";
    let columns = "m.partition, m.seq, m.state, m.revision, m.key";
    let also = format!("{filter} and 0 = any ($1::smallint[])");
    let pending = log::pending(columns, "p.number", &also, "order by m.seq limit $6");
    let matching = format!(
        "{pending}
  union all
  (select {columns} from {{message}} as m
    where m.partition = p.number and m.state + 0 = 6 and 4 = any ($1::smallint[]) and {{done}}
      {filter}
    order by m.seq limit $6)
  union all
  (select {columns}
    from (select k.*, p.number as partition where 2 = any ($1::smallint[])) as k
    {}
    where true{filter}
    order by m.seq limit $6)",
        log::parked("m.*")
    );
    let settled = format!(
        "union all
select {columns}
from {{settled}} as s
cross join lateral unnest(s.seqs) as u (seq)
join {{message}} as m on m.partition = s.partition and m.seq = u.seq
where m.state + 0 = 6 and 4 = any ($1::smallint[])
  and s.at >= timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
  and s.at <= timestamptz 'epoch' + $3::bigint * interval '1 microsecond'
"
    );
    let unsettled = format!(
        "{{cursor}} as p
  {}
  cross join lateral (
    (select null::timestamptz as enqueued_at where false){}
  ) as l",
        log::cursor("p.partition"),
        log::pending("m.enqueued_at", "p.partition", "", "")
    );
    let parked = format!(
        "{{cursor}} as k {} cross join lateral (select m.enqueued_at) as l",
        log::parked("m.enqueued_at")
    );
    filled([
        &log::cursor("p.number"),
        &matching,
        &settled,
        &unsettled,
        &parked,
    ])
}

impl AdminSql {
    /// The script of the migrations, whose names are filled in already.
    pub(crate) fn script(names: &Names, text: &str) -> Statement {
        Statement::new(names, text)
    }

    pub(super) fn new(names: &Names) -> Self {
        Self {
            meta: Statement::new(names, META),
            now: Statement::new(names, NOW),
            counts: Statement::new(names, &with_log(names, COUNTS)),
            partitions: Statement::new(names, PARTITIONS),
            instances: Statement::new(names, INSTANCES),
            list: Statement::new(names, &with_log(names, LIST)),
            lock: Statement::new(names, LOCK),
            get: Statement::new(names, GET),
            one: SelectionSql::new(names, with_id!(), "$3", "$4"),
            matching: SelectionSql::new(names, matching!(), "$6", "$7"),
            settled_since: SelectionSql::new(names, settled_since!(), "$4", "$5"),
            progress: Statement::new(names, PROGRESS),
            purge: Statement::new(names, PURGE),
            purge_ids: Statement::new(names, PURGE_IDS),
        }
    }
}
