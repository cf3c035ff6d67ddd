//! Statements of reading sources.

use super::{Names, Statement};

/// Adds the right to read a source, one partition, and the row of its position, unless they are there:
/// `$1` the source, `$2` its queue, `$3` the number of the partition. By the primary keys. They are
/// looked for first, since a conflict waits for whoever is changing the row that is there.
const ADD_SOURCE: &str = "
with right_to_read as (
  insert into {partition} (queue, partition)
  select $2, $3
  where not exists (select from {partition} where queue = $2 and partition = $3)
  on conflict do nothing
)
insert into {source} (name)
select $1 where not exists (select from {source} where name = $1)
on conflict do nothing
";

/// How far a source was read: `$1` the source. By the primary key.
const POSITION: &str = "select position from {source} where name = $1";

/// Moves the position: `$1` the source, `$2` where it must stand, `$3` where it stands then. By the
/// primary key. Locks the row until the end of the transaction, and waits for whoever moved it; it is
/// looked at again then.
const MOVE: &str = "
update {source} as s set position = $3, moved_at = {clock}()
where s.name = $1 and s.position is not distinct from $2::text
";

/// Whether the caller holds a partition: the fence of one, for what has changed everything else. `$1`
/// queue, `$2` partition, `$3` epoch. By the primary key; what it locks is said there.
const HOLDS: &str = "with {fence_of_one} select exists (select from fence)";

/// How many rows are pending or retrying, up to `$1`. By the partial indexes of these states, in their
/// order.
const BACKLOG: &str = "
select least($1, (
    select count(*) from (
      select from {message} where state = 0{own} order by partition, seq limit $1
    ) as pending
  ) + (
    select count(*) from (
      select from {message} where state = 1{own} order by partition, due_at limit $1
    ) as retrying
  ))
";

/// The statements of reading sources.
#[derive(Debug)]
pub(crate) struct IngestSql {
    pub(crate) add_source: Statement,
    pub(crate) position: Statement,
    pub(crate) move_position: Statement,
    pub(crate) holds: Statement,
    pub(crate) backlog: Statement,
}

impl IngestSql {
    pub(super) fn new(names: &Names) -> Self {
        let new = |template| Statement::new(names, template);
        Self {
            add_source: new(ADD_SOURCE),
            position: new(POSITION),
            move_position: new(MOVE),
            holds: new(HOLDS),
            backlog: new(BACKLOG),
        }
    }
}
