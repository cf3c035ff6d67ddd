//! The statement of a mark: a row that was handled, in the transaction of the effects.

use std::fmt::Write as _;

use iobox_core::store::{Settled, Settlement};

use super::{Names, Shelf, Statement};

/// Marks a row as done under the fence, and lets the session stand idle in its transaction for no longer
/// than `$8` milliseconds from here on: whoever pauses before the COMMIT holds up every taker of the
/// partition. `$1` queue, `$2` partition, `$3` epoch, `$4` seq, `$5` revision, `$6` attempt, `$7`
/// whether the broker knew it. The row by the primary key, after the result of the fence. What a
/// settlement as done changes is changed here, with values instead of arrays, so that one plan serves
/// every call. Returns whether the fence held and whether the row was changed.
const MARK: &str = "
{marked}
select exists (select from fence), exists (select from changed),
  pg_catalog.set_config('idle_in_transaction_session_timeout', $8, true)
";

/// Marks a row as done under the fence, with the parameters from `$1` to `$7` of [`MARK`], or fails: a
/// COMMIT that follows in the same message is then not reached. Prepared by every session that runs
/// handlers, under the name that [`MarkSql::execute`] uses.
///
/// An error with a text of ours: SQL without a procedural language has no other than that of a value
/// which cannot be read. The condition is no constant, so that the planner does not read it.
const PREPARE: &str = "
prepare iobox_mark (text, smallint, bigint, bigint, integer, integer, boolean) as
{marked}
select cast(case
  when not exists (select from fence) then '{lost}'
  when not exists (select from changed) then '{changed}'
  else '0' end as integer)
";

const LOST: &str = "iobox: the lease was lost, nothing is committed";
const CHANGED: &str = "iobox: the row has changed, nothing is committed";
/// The SQLSTATE of a value that cannot be read.
const UNREADABLE: &str = "22P02";

/// What both of them do.
const MARKED: &str = "
with {fence_of_one}, changed as (
  update {message} as m
  set state = 4, revision = m.revision + 1, attempt = $6, absorbed = $7,
    settled_at = (select {clock}()), due_at = null, suspect = false, alone = false, crashes = 0
  where m.partition = (select partition from fence) and m.seq = $4 and m.revision = $5
    and m.state in (0, 1, 2)
  returning m.seq
)";

/// The statement of a mark.
#[derive(Debug)]
pub(crate) struct MarkSql {
    pub(crate) mark: Statement,
}

impl MarkSql {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            mark: Statement::new(names, &MARK.replace("{marked}", MARKED)),
        }
    }

    /// What a session sends once, so that it can [`execute`](Self::execute).
    pub(crate) fn prepare(names: &Names) -> Statement {
        let text = PREPARE
            .replace("{marked}", &MARKED.replace("{message}", "{inbox}"))
            .replace("{lost}", LOST)
            .replace("{changed}", CHANGED);
        Statement::new(names, &text)
    }

    /// Marks in a session that is prepared for it, or fails. The text holds numbers and the name of the
    /// queue, of which anything but the characters that names have is left out: it would be the name of
    /// no queue.
    pub(crate) fn execute(shelf: &Shelf, success: &Settlement, duplicate: bool) -> String {
        let mut text = String::with_capacity(192);
        text.push_str("execute iobox_mark ('");
        let named = |char: &char| char.is_ascii_alphanumeric() || "-_./".contains(*char);
        text.extend(shelf.queue.chars().filter(named));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "', {}::smallint, {}, {}, {}, {}, {duplicate})",
            shelf.number(success.partition),
            success.epoch.0,
            success.seq.0,
            success.revision.0,
            i32::try_from(success.attempt).unwrap_or(i32::MAX),
        );
        text
    }

    /// Why a mark did not apply, if that is why it failed.
    pub(crate) fn refusal(failure: &sqlx::Error) -> Option<Settled> {
        let refused = failure.as_database_error()?;
        let says = |text| refused.message().contains(text);
        match refused.code()?.as_ref() {
            UNREADABLE if says(LOST) => Some(Settled::LeaseLost),
            UNREADABLE if says(CHANGED) => Some(Settled::Superseded),
            _ => None,
        }
    }
}
