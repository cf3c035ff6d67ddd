//! Statements of the inbox that the queues of handlers do not share with the outbox.

use super::{Names, Statement};

/// Locks the subscriptions against change until the end of the transaction, and says which they are:
/// one row FOR SHARE. A change that was committed after the snapshot of the transaction is a
/// conflict above READ COMMITTED; at READ COMMITTED the next statement sees it. On another timeline of the
/// server a number may be given again, to other subscriptions, so that it is told with the timeline.
const ROUTING: &str = "select version + {past} from {routing} for share";

/// Locks the subscriptions to change them: waits for every reception under way, and holds up the
/// next.
const CHANGE_ROUTING: &str = "update {routing} set version = version + 1";

/// The subscriptions; there are few.
const SUBSCRIPTIONS: &str = "
select s.pattern, h.name, h.number
from {subscription} as s join {handler} as h on h.number = s.handler
";

/// Adds handlers that are not there: `$1` names, sorted. Under the lock of the subscriptions.
const ADD_HANDLERS: &str = "
insert into {handler} (number, name)
select (select coalesce(max(number), 0) from {handler}) + row_number() over (order by n.name), n.name
from unnest($1::text[]) as n (name)
where not exists (select from {handler} as h where h.name = n.name)
";

/// Adds the partitions of handlers: `$1` names, `$2` their queues, `$3` how many partitions.
const ADD_PARTITIONS: &str = "
insert into {partition} (queue, partition)
select n.queue, h.number * 256 + p.number
from unnest($1::text[], $2::text[]) as n (name, queue)
join {handler} as h on h.name = n.name
cross join generate_series(0, $3::integer - 1) as p (number)
on conflict do nothing
";

/// Adds subscriptions: `$1` patterns, `$2` names of their handlers.
const ADD_SUBSCRIPTIONS: &str = "
insert into {subscription} (pattern, handler)
select s.pattern, h.number
from unnest($1::text[], $2::text[]) as s (pattern, name)
join {handler} as h on h.name = s.name
on conflict do nothing
";

/// Removes the subscriptions of a handler: `$1` its name.
const RETIRE: &str = "
delete from {subscription} where handler = (select number from {handler} where name = $1)
";

/// The number of a handler: `$1` its name. By the unique index.
const HANDLER: &str = "select number from {handler} where name = $1";

/// The topics of what is kept. By the index `received_unrouted`.
const KEPT_TOPICS: &str = "select distinct topic from {received} where unrouted";

/// Opens what is kept of the topics `$1`, in the order in which it was received, until the end of the
/// transaction. A cursor, so that it is found and sorted once, however many parts it is taken in.
const KEPT: &str = "
declare iobox_kept no scroll cursor for
select seq, id, topic, key, size from {received}
where unrouted and topic = any ($1::text[])
order by seq
for update
";

/// The next of what is kept; locked, so that nobody forgets it meanwhile.
const NEXT_KEPT: &str = "fetch 10000 from iobox_kept";

/// Notes that messages are routed: `$1` seqs.
const ROUTE: &str = "update {received} set unrouted = false where seq = any ($1::bigint[])";

/// Stores messages that are not known: `$1` the source, `$2` origins, `$3` ids, `$4` topics, `$5` keys,
/// `$6` headers, `$7` payloads, `$8` sizes, `$9` whether nobody wants them, `$10` when they happened, in
/// microseconds since 1970. The seqs are in the order of the call; the rows are inserted in the order of
/// the unique index, so that two transactions with the same messages wait for each other in one
/// order. One that another open transaction stored is waited for. Returns those that are new.
const RECEIVE: &str = "
with given as materialized (
  select i.*
  from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
      $8::integer[], $9::boolean[], $10::bigint[])
    with ordinality
    as i (origin, id, topic, key, headers, payload, size, unrouted, occurred_at, ord)
  order by i.ord
), numbered as materialized (
  select pg_catalog.nextval('{received_seq}') as seq, given.* from given
)
insert into {received} (seq, received_at, occurred_at, origin, size, unrouted, source, id, topic, key,
  headers, payload)
select n.seq, (select {clock}()), timestamptz 'epoch' + n.occurred_at * interval '1 microsecond',
  n.origin, n.size, n.unrouted, $1, n.id, n.topic, n.key, n.headers, n.payload
from numbered as n
order by n.origin, n.id, n.seq
on conflict do nothing
returning seq, origin::text, id
";

/// Gives messages to handlers: `$1` partitions, `$2` seqs of the messages, `$3` ids, `$4` topics, `$5`
/// keys, `$6` sizes. The rows of a message stand where it was received, also when they are given later: its
/// seq, and behind that the number of the handler. The sequence of the table is not used any more.
const GIVE: &str = "
insert into {inbox} (seq, partition, message, id, topic, key, size, enqueued_at)
select (i.message << 7) + (i.partition >> 8), i.partition, i.message, i.id, i.topic, i.key, i.size, r.received_at
from unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::integer[])
  with ordinality as i (partition, message, id, topic, key, size, ord)
join {received} as r on r.seq = i.message
order by i.ord
";

/// How many messages nobody wants so far. By the index `received_unrouted`.
const UNROUTED: &str = "select count(*) from {received} where unrouted";

/// Forgets messages that were received longer ago than `$1` microseconds and of which nobody has a row,
/// at most `$2`. By the indexes `received_at` and `inbox_id`: an entry for `message` would be written at
/// every change of a row, to be read here alone.
const FORGET: &str = "
with old as materialized (
  select r.seq from {received} as r
  where not r.unrouted
    and r.received_at < (select {clock}() - $1::bigint * interval '1 microsecond')
    and not exists (select from {inbox} as i where i.id = r.id and i.message = r.seq)
  order by r.received_at
  limit $2
  for update skip locked
)
delete from {received} as r using old where r.seq = old.seq
";

/// Forgets messages that nobody wanted for longer than `$1` microseconds, at most `$2`.
const FORGET_UNROUTED: &str = "
with old as materialized (
  select r.seq from {received} as r
  where r.unrouted
    and r.received_at < (select {clock}() - $1::bigint * interval '1 microsecond')
  limit $2
  for update skip locked
)
delete from {received} as r using old where r.seq = old.seq and r.unrouted
";

/// Forgets marks that are older than `$1` microseconds, at most `$2`. By the index `admitted_at`.
const FORGET_ADMITTED: &str = "
with old as materialized (
  select a.source, a.handler, a.origin, a.id from {admitted} as a
  where a.admitted_at < (select {clock}() - $1::bigint * interval '1 microsecond')
  order by a.admitted_at
  limit $2
  for update skip locked
)
delete from {admitted} as a using old
where a.source = old.source and a.handler = old.handler and a.origin = old.origin and a.id = old.id
";

/// Marks a message: `$1` source, `$2` handler, `$3` origin, `$4` id. By the primary key; a mark that
/// another open transaction made is waited for.
const ADMIT: &str = "
insert into {admitted} (source, handler, origin, id, admitted_at)
values ($1, $2, $3::uuid, $4, {clock}())
on conflict do nothing
";

/// The statements of the inbox.
#[derive(Debug)]
pub(crate) struct InboxSql {
    pub(crate) routing: Statement,
    pub(crate) change_routing: Statement,
    pub(crate) subscriptions: Statement,
    pub(crate) add_handlers: Statement,
    pub(crate) add_partitions: Statement,
    pub(crate) add_subscriptions: Statement,
    pub(crate) retire: Statement,
    pub(crate) handler: Statement,
    pub(crate) kept_topics: Statement,
    pub(crate) kept: Statement,
    pub(crate) next_kept: Statement,
    pub(crate) route: Statement,
    pub(crate) receive: Statement,
    pub(crate) give: Statement,
    pub(crate) unrouted: Statement,
    pub(crate) forget: Statement,
    pub(crate) forget_unrouted: Statement,
    pub(crate) forget_admitted: Statement,
    pub(crate) admit: Statement,
}

impl InboxSql {
    pub(super) fn new(names: &Names) -> Self {
        let new = |template| Statement::new(names, template);
        Self {
            routing: new(ROUTING),
            change_routing: new(CHANGE_ROUTING),
            subscriptions: new(SUBSCRIPTIONS),
            add_handlers: new(ADD_HANDLERS),
            add_partitions: new(ADD_PARTITIONS),
            add_subscriptions: new(ADD_SUBSCRIPTIONS),
            retire: new(RETIRE),
            handler: new(HANDLER),
            kept_topics: new(KEPT_TOPICS),
            kept: new(KEPT),
            next_kept: new(NEXT_KEPT),
            route: new(ROUTE),
            receive: new(RECEIVE),
            give: new(GIVE),
            unrouted: new(UNROUTED),
            forget: new(FORGET),
            forget_unrouted: new(FORGET_UNROUTED),
            forget_admitted: new(FORGET_ADMITTED),
            admit: new(ADMIT),
        }
    }
}
