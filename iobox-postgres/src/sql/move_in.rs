//! Statements that move rows in from the tables of go-iobox.
//!
//! `{theirs}` is the table to move from. It has no index but that of its ids, so a walk reads the whole
//! table for each batch, unless somebody made an index on (created_at, id).

use super::{Names, Statement};

/// Whether a table is there: `$1` its quoted name.
const THERE: &str = "select pg_catalog.to_regclass($1) is not null";

/// Fails for a time zone that the server does not know: `$1` its name.
const ZONE: &str = "select pg_catalog.now() at time zone $1";

/// How many rows are left. Reads the whole table.
const COUNT: &str = "select count(*) from {theirs}";

/// The next rows of the outbox: `$1` whether those that are done too, `$2` and `$3` the time and the id
/// of the last row before, `$4` how many. Locked FOR UPDATE, in the order of their times and ids; one that
/// somebody is changing is waited for. The size of a payload is read of these rows alone.
const PICK_OUTBOX: &str = "
with picked as materialized (
  select t.id, t.status, t.event_type, t.created_at, t.payload
  from {theirs} as t
  where ($1::boolean or t.status is distinct from 'done')
    and (t.created_at, t.id) > ($2::text::timestamp, $3::text)
  order by t.created_at, t.id
  limit $4
  for update
)
select p.created_at::text, p.id::text, null::text, p.status::text, p.event_type::text,
  pg_catalog.octet_length(p.payload::text)::bigint, 0, null::text
from picked as p
order by p.created_at, p.id
";

/// The next rows of the inbox, as above: `$4` is the handler of the last row before, `$5` how many.
const PICK_INBOX: &str = "
with picked as materialized (
  select t.id, t.handler_key, t.status, t.event_type, t.created_at, t.payload, t.attempt,
    t.error_message
  from {theirs} as t
  where ($1::boolean or t.status is distinct from 'done')
    and (t.created_at, t.id, t.handler_key) > ($2::text::timestamp, $3::text, $4::text)
  order by t.created_at, t.id, t.handler_key
  limit $5
  for update
)
select p.created_at::text, p.id::text, p.handler_key::text, p.status::text, p.event_type::text,
  pg_catalog.octet_length(p.payload)::bigint, p.attempt::integer,
  pg_catalog.left(p.error_message, 1000)
from picked as p
order by p.created_at, p.id, p.handler_key
";

/// Copies rows to our outbox: `$1` partitions, `$2` ids, `$3` keys, `$4` sizes, `$5` states, `$6` whether
/// their outcome is unknown, `$7` headers, `$8` the time zone. The rows are locked and their ids
/// claimed; the sequence is drawn in the order of the call. A time in the future is now.
const TAKE_OUTBOX: &str = "
insert into {message} (partition, id, topic, key, headers, payload, size, enqueued_at, state, uncertain,
  reason, settled_at)
select i.partition, t.id, t.event_type, i.key, $7, pg_catalog.convert_to(t.payload::text, 'UTF8'), i.size,
  least(greatest(t.created_at at time zone $8, timestamptz 'epoch'), now.at), i.state, i.uncertain,
  case when i.state = 3 then 'dead in go-iobox' end,
  case when i.state in (3, 4)
    then least(greatest(t.updated_at at time zone $8, timestamptz 'epoch'), now.at) end
from unnest($1::smallint[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::boolean[])
  with ordinality as i (partition, id, key, size, state, uncertain, ord)
join {theirs} as t on t.id = i.id
cross join (select {clock}() as at) as now
order by i.ord
";

/// Removes rows of their outbox: `$1` ids. By the primary key.
const DROP_OUTBOX: &str = "
delete from {theirs} as t using unnest($1::text[]) as i (id) where t.id = i.id
";

/// The numbers of handlers: `$1` names. By the unique index.
const NUMBERS: &str = "select name, number from {handler} where name = any ($1::text[])";

/// Stores messages that are not known: `$1` the source, `$2` ids, `$3` the handlers in whose rows the
/// messages are read, `$4` sizes, `$5` headers, `$6` the time zone. The seqs are in the order of the call,
/// the rows in the order of the unique index. The last change of a row is the latest time at which its
/// message was received; go-iobox keeps in `created_at` when it happened.
const STORE: &str = "
with given as materialized (
  select i.* from unnest($2::text[], $3::text[], $4::integer[])
    with ordinality as i (id, handler, size, ord)
  order by i.ord
), numbered as materialized (
  select pg_catalog.nextval('{received_seq}') as seq, given.* from given
)
insert into {received} (seq, received_at, occurred_at, origin, size, unrouted, source, id, topic, headers,
  payload)
select n.seq,
  least(greatest(t.updated_at at time zone $6, timestamptz 'epoch'), (select {clock}())),
  t.created_at at time zone $6, uuid '00000000-0000-0000-0000-000000000000', n.size, false, $1, n.id,
  t.event_type, $5, t.payload
from numbered as n
join {theirs} as t on t.id = n.id and t.handler_key = n.handler
order by n.id, n.seq
on conflict do nothing
";

/// What is stored of messages: `$1` the source, `$2` ids, `$3` handlers, `$4` the numbers of these. Returns
/// the seq, the key, whether topic and payload are those of the handler's row, and whether the handler
/// has a row of ours, and whether the message is kept as unrouted. By the unique indexes and
/// `inbox_id`.
const STORED: &str = "
select r.seq, r.key, r.topic = t.event_type and r.payload = t.payload,
  exists (
    select from {inbox} as h
    where h.id = r.id and h.message = r.seq and h.partition between i.number * 256 and i.number * 256 + 255
  ), r.unrouted
from unnest($2::text[], $3::text[], $4::integer[]) with ordinality as i (id, handler, number, ord)
join {received} as r on r.source = $1 and r.origin = uuid '00000000-0000-0000-0000-000000000000'
  and r.id = i.id
join {theirs} as t on t.id = i.id and t.handler_key = i.handler
order by i.ord
";

/// Copies rows to our inbox: `$1` partitions, `$2` the seqs of their messages, `$3` handlers, `$4` states,
/// `$5` attempts, `$6` whether their outcome is unknown, `$7` reasons, `$8` the time zone. The rows
/// of a message stand where it was received.
const TAKE_INBOX: &str = "
insert into {inbox} (seq, partition, message, id, topic, key, size, enqueued_at, state, attempt, uncertain,
  reason, due_at, settled_at)
select (r.seq << 7) + (i.partition >> 8), i.partition, r.seq, r.id, r.topic, r.key, r.size, r.received_at, i.state, i.attempt, i.uncertain,
  i.reason,
  case when i.state = 1 then coalesce(t.next_attempt, t.updated_at) at time zone $8 end,
  case when i.state in (3, 4)
    then least(greatest(t.updated_at at time zone $8, timestamptz 'epoch'), now.at) end
from unnest($1::smallint[], $2::bigint[], $3::text[], $4::smallint[], $5::integer[], $6::boolean[],
    $7::text[])
  with ordinality as i (partition, message, handler, state, attempt, uncertain, reason, ord)
join {received} as r on r.seq = i.message
join {theirs} as t on t.id = r.id and t.handler_key = i.handler
cross join (select {clock}() as at) as now
order by i.ord
";

/// Removes rows of their inbox: `$1` ids, `$2` handlers. By the unique index.
const DROP_INBOX: &str = "
delete from {theirs} as t using unnest($1::text[], $2::text[]) as i (id, handler)
where t.id = i.id and t.handler_key = i.handler
";

/// The statements of a move from one table.
#[derive(Debug)]
pub(crate) struct MoveSql {
    pub(crate) there: Statement,
    pub(crate) zone: Statement,
    pub(crate) count: Statement,
    pub(crate) pick_outbox: Statement,
    pub(crate) pick_inbox: Statement,
    pub(crate) take_outbox: Statement,
    pub(crate) drop_outbox: Statement,
    pub(crate) numbers: Statement,
    pub(crate) store: Statement,
    pub(crate) stored: Statement,
    pub(crate) take_inbox: Statement,
    pub(crate) drop_inbox: Statement,
}

impl MoveSql {
    /// `theirs` is the quoted name of a table, made of checked identifiers.
    pub(crate) fn new(names: &Names, theirs: &str) -> Self {
        let new = |template: &str| Statement::new(names, &template.replace("{theirs}", theirs));
        Self {
            there: new(THERE),
            zone: new(ZONE),
            count: new(COUNT),
            pick_outbox: new(PICK_OUTBOX),
            pick_inbox: new(PICK_INBOX),
            take_outbox: new(TAKE_OUTBOX),
            drop_outbox: new(DROP_OUTBOX),
            numbers: new(NUMBERS),
            store: new(STORE),
            stored: new(STORED),
            take_inbox: new(TAKE_INBOX),
            drop_inbox: new(DROP_INBOX),
        }
    }
}
