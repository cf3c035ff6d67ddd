//! The statement of a mark: a row that was handled, in the transaction of the effects.

use super::{Names, Statement};

/// Marks a row as done under the fence, and lets the session stand idle in its transaction for no longer
/// than `$8` milliseconds from here on: whoever pauses before the COMMIT holds up every taker of the
/// partition. `$1` queue, `$2` partition, `$3` epoch, `$4` seq, `$5` revision, `$6` attempt, `$7`
/// whether the broker knew it. The row by the primary key, after the result of the fence. What a
/// settlement as done changes is changed here, with values instead of arrays, so that one plan serves
/// every call. Returns whether the fence held and whether the row was changed.
const MARK: &str = "
with {fence_of_one}, changed as (
  update {message} as m
  set state = 4, revision = m.revision + 1, attempt = $6, absorbed = $7,
    settled_at = (select {clock}()), due_at = null, suspect = false, alone = false, crashes = 0
  where m.partition = (select partition from fence) and m.seq = $4 and m.revision = $5
    and m.state in (0, 1, 2)
  returning m.seq
)
select exists (select from fence), exists (select from changed),
  pg_catalog.set_config('idle_in_transaction_session_timeout', $8, true)
";

/// The statement of a mark.
#[derive(Debug)]
pub(crate) struct MarkSql {
    pub(crate) mark: Statement,
}

impl MarkSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            mark: Statement::new(names, MARK),
        }
    }
}
