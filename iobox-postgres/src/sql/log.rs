//! The log: which of its rows are pending, which wait, and which are done.
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

use super::names::Shelf;

/// Whether the cursor `k` has taken the logged row `m`, or passed it since its key is parked.
const TAKEN: &str = "(
    (m.seq <= k.upto and pg_catalog.pg_visible_in_snapshot(m.xid, k.seen) and m.seq <> all (k.behind))
    or m.seq = any (k.ahead)
  )";

/// Whether the logged row `m` waits, since the cursor `k` says that its key is parked. The first two
/// conditions spare most rows the third, which costs more than to read them.
const ASIDE: &str = "(m.seq <= any (k.parked_last) and m.key = any (k.parked_keys) and exists (
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
pub(super) const LOGGED: &str = "m.state + 0 = 6";

/// That all that the snapshot `inner` shows is visible in `outer` too.
pub(super) fn within(inner: &str, outer: &str) -> String {
    format!(
        "(pg_catalog.pg_snapshot_xmax({inner}) <= pg_catalog.pg_snapshot_xmax({outer})
      and not exists (
        select from pg_catalog.pg_snapshot_xip({outer}) as x (xid)
        where pg_catalog.pg_visible_in_snapshot(x.xid, {inner})
      ))"
    )
}

/// The logged rows of a partition that were committed late, with a seq that the cursor `k` had gone past:
/// those of transactions that began behind its snapshot, and of those that were under way in it. Two
/// tables for a join, by the index `message_xid`; the conditions are written so that no other index serves.
///
/// They are looked up first and sorted then (`offset`): to the planner, who does not know how few they
/// are, the primary key looks good since it has the order, and it would walk the whole history.
pub(super) fn late(columns: &str, partition: &str, k: &str) -> [String; 2] {
    let rows = |which: &str| {
        format!(
            "(
            select {columns} from {{message}} as m
            where m.state = 6 and m.partition::integer = {partition}::integer
              and {which} and m.seq <= {k}.upto
            offset 0
          )"
        )
    };
    let began = rows(&format!("m.xid >= pg_catalog.pg_snapshot_xmax({k}.seen)"));
    let under_way = rows("m.xid = x.xid");
    [
        began,
        format!(
            "(
            select m.* from pg_catalog.pg_snapshot_xip({k}.seen) as x (xid)
            cross join lateral {under_way} as m
          )"
        ),
    ]
}

/// The logged rows of a partition that are pending, as further parts of a union: those behind the
/// cursor and those that it left by the primary key, and those that were committed late by the index
/// `message_xid`. `partition` is an expression for the partition, `k` the row of its cursor; each part
/// ends with `tail`.
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
    let [began, under_way] = late("m.*, m.ctid", partition, "k");
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
        part(&began, ""),
        part(&under_way, ""),
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
