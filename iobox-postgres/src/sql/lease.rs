//! Statements of leases.

use super::{Names, Statement};

/// Registers an instance, or renews it when it is there. `$1` queue, `$2` instance, `$3` ttl in
/// microseconds, `$4` in flight. By the primary key; locks its own row alone.
const REGISTER: &str = "
insert into {instance} as i (queue, id, started, expires, in_flight)
select $1, $2::uuid, now.at, now.at + $3::bigint * interval '1 microsecond', $4
from (select {clock}() as at offset 0) as now
on conflict (queue, id) do update
  set expires = excluded.expires, in_flight = excluded.in_flight
";

/// Renews an instance that is there, expired or not. Parameters and locks as above.
const RENEW: &str = "
update {instance} as i
set expires = {clock}() + $3::bigint * interval '1 microsecond', in_flight = $4
where i.queue = $1 and i.id = $2::uuid
";

/// Takes free partitions. `$1` queue, `$2` instance, `$3` the partitions it knows to hold, `$4` their
/// epochs.
///
/// The taker's own row is locked FOR KEY SHARE, so that nobody deletes it meanwhile; a renewal may
/// pass. Expired rows are deleted unless somebody holds them. Partitions are locked in order with
/// SKIP LOCKED, so that this never waits for a settle or for another taker. The epoch of the
/// snapshot is compared with the locked row: a partition that somebody took after the snapshot is
/// not free, though the snapshot does not show its new owner's row. What was granted to the taker by
/// a call whose reply was lost, or which took effect late, comes first, and beyond its share; and so does
/// what it knows to hold since before a promotion of the server, which no fence takes any more. The nil UUID is an owner without a
/// row: nobody has the partition, and it is still abandoned. An epoch is above all that were given on earlier
/// timelines of the server, those that got lost too.
///
/// The tables have one row for each partition and instance; all reads are by their primary keys.
/// Returns no row when the taker is expired or gone, and one without a partition when it got none;
/// `missed` says then whether it should have got some, but somebody held them.
const ACQUIRE: &str = "
with now as materialized (
  select {clock}() as at
), me as materialized (
  select i.id from {instance} as i
  where i.queue = $1 and i.id = $2::uuid and i.expires > (select at from now)
  for key share
), expired as materialized (
  select i.id from {instance} as i
  where i.queue = $1 and i.id <> $2::uuid and i.expires <= (select at from now)
    and exists (select from me)
  for update skip locked
), gone as (
  delete from {instance} as i using expired as e
  where i.queue = $1 and i.id = e.id
  returning i.id
), live as materialized (
  select i.id, count(*) over () as live,
    row_number() over (order by i.started, i.id) - 1 as rank
  from {instance} as i
  where i.queue = $1 and i.id not in (select id from gone)
), due as materialized (
  select p.total / l.live + case when l.rank < p.total % l.live then 1 else 0 end as share, p.own
  from live as l
  join me on me.id = l.id
  cross join (
    select count(*) as total, count(*) filter (where p.owner = $2::uuid) as own
    from {partition} as p where p.queue = $1
  ) as p
), free as materialized (
  select p.partition, p.epoch, p.owner is not distinct from $2::uuid as lost
  from {partition} as p
  where p.queue = $1 and (
    p.owner is null
    or p.owner not in (select id from live)
    or (p.owner = $2::uuid and (
      p.epoch <= {past}
      or (p.partition, p.epoch) not in (select * from unnest($3::smallint[], $4::bigint[]))
    ))
  )
), room as materialized (
  select d.share, greatest(d.share - d.own, 0) as more,
    (select count(*) from free as f where f.lost) as lost,
    (select count(*) from free as f where not f.lost) as free
  from due as d
), locked as materialized (
  select p.partition, p.owner is not null as abandoned
  from {partition} as p
  join free as f on f.partition = p.partition and f.epoch = p.epoch
  where p.queue = $1
  order by p.owner is distinct from $2::uuid, p.partition
  limit (select coalesce(max(r.lost + r.more), 0) from room as r)
  for update of p skip locked
), taken as (
  update {partition} as p
  set epoch = greatest(p.epoch, {past}) + 1, owner = $2::uuid
  from locked as l
  where p.queue = $1 and p.partition = l.partition
  returning p.partition, p.epoch, l.abandoned
)
select r.share, t.partition, t.epoch, t.abandoned, r.lost > 0 or least(r.more, r.free) > 0 as missed
from room as r left join taken as t on true
order by t.partition
";

/// Gives partitions back. `$1` queue, `$2` instance, `$3` partitions, `$4` their epochs, `$5`
/// whether the instance leaves, `$6` which of them are still abandoned; so is one that was taken before a
/// promotion of the server, which may have lost what was settled. Locks the partitions in order and waits for settles under way.
const RELEASE: &str = "
with held as materialized (
  select p.partition, h.abandoned or p.epoch <= {past} as abandoned
  from {partition} as p
  join unnest($3::smallint[], $4::bigint[], $6::boolean[]) as h (partition, epoch, abandoned)
    on h.partition = p.partition and h.epoch = p.epoch
  where p.queue = $1 and p.owner = $2::uuid
  order by p.partition
  for update of p
), freed as (
  update {partition} as p
  set owner = case when h.abandoned then '00000000-0000-0000-0000-000000000000'::uuid end
  from held as h
  where p.queue = $1 and p.partition = h.partition
), left_queue as (
  delete from {instance} as i
  where $5 and i.queue = $1 and i.id = $2::uuid
)
select count(*) from held
";

/// The statements of leases.
#[derive(Debug)]
pub(crate) struct LeaseSql {
    pub(crate) register: Statement,
    pub(crate) renew: Statement,
    pub(crate) acquire: Statement,
    pub(crate) release: Statement,
}

impl LeaseSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            register: Statement::new(names, REGISTER),
            renew: Statement::new(names, RENEW),
            acquire: Statement::new(names, ACQUIRE),
            release: Statement::new(names, RELEASE),
        }
    }
}
