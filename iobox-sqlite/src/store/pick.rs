//! Picking: which rows a person means.

use std::collections::HashMap;

use iobox_core::{
    message::OrderingKey,
    store::{Filter, Selection, State},
};
use rusqlite::{Connection, Params, Row, params};

use crate::{
    error::Failure,
    row,
    sql::{Listing, OPEN, Sql},
    time::{reached, stored},
};

/// The most rows that one replay or discard changes.
const CHANGE_MAX: usize = 10_000;

/// A row that was picked, as it was then.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) seq: i64,
    pub(super) revision: i32,
    key: Option<OrderingKey>,
}

/// The rows that `selection` means among those in one of `states`, oldest first, and whether there
/// are more than one call takes.
pub(super) fn pick(
    conn: &Connection,
    sql: &Sql,
    selection: &Selection,
    states: &[State],
) -> Result<(Vec<Pick>, bool), Failure> {
    let limit = i64::try_from(CHANGE_MAX + 1).unwrap_or(i64::MAX);
    let mut picks = match selection {
        Selection::One(id) => rows(
            conn,
            &sql.pick_id,
            params![id.as_str(), mask(states)],
            Pick::read,
        )?,
        Selection::PublishedSince { since, until } if states.contains(&State::Done) => {
            let mut published = Vec::new();
            let logged = sql.log.as_ref().map(|log| &log.pick_published);
            for statement in [Some(&sql.pick_published), logged].into_iter().flatten() {
                let span = params![stored(*since), until.map_or(i64::MAX, reached), limit];
                published.append(&mut rows(conn, statement, span, Pick::read)?);
            }
            published
        }
        Selection::Matching(filter) => {
            let statements = sql.picking();
            matching(conn, statements, filter, states, None, limit, Pick::read)?
        }
        _ => Vec::new(),
    };
    picks.sort_unstable_by_key(|pick| pick.seq);
    let more = picks.len() > CHANGE_MAX;
    picks.truncate(CHANGE_MAX);
    Ok((picks, more))
}

/// Runs the statements of a listing: one for each state if none is settled, so that the history is
/// not read, else one over all rows. The result is not sorted across states.
pub(super) fn matching<T>(
    conn: &Connection,
    statements: Listing<'_>,
    filter: &Filter,
    allowed: &[State],
    after: Option<i64>,
    limit: i64,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let wanted = |state: &State| filter.states.is_empty() || filter.states.contains(state);
    let states: Vec<State> = allowed.iter().copied().filter(wanted).collect();
    let after = after.unwrap_or(i64::MIN);
    let topic = filter.topic.as_ref().map(|topic| topic.as_str());
    let key = filter.key.as_ref().map(|key| key.as_str());
    let partition = filter.partition.map(|partition| partition.number());
    if states
        .iter()
        .any(|state| OPEN.iter().all(|(open, _)| open != state))
    {
        let mask = mask(&states);
        return rows(
            conn,
            statements.all,
            params![after, topic, key, partition, limit, mask],
            read,
        );
    }
    let mut found = Vec::new();
    let logged = statements.logged.map(|logged| (State::Pending, logged));
    let apart = OPEN.iter().map(|(state, _)| *state).zip(statements.open);
    for (state, statement) in apart.chain(logged) {
        if states.contains(&state) {
            found.append(&mut rows(
                conn,
                statement,
                params![after, topic, key, partition, limit],
                read,
            )?);
        }
    }
    Ok(found)
}

/// How many of `picks` have a later row of their key that is done.
///
/// Reads the rows behind the oldest pick, from the newest down, until each key is decided.
pub(super) fn out_of_order(conn: &Connection, sql: &Sql, picks: &[Pick]) -> Result<u64, Failure> {
    let mut undecided: HashMap<&str, Vec<i64>> = HashMap::new();
    for pick in picks {
        if let Some(key) = &pick.key {
            undecided.entry(key.as_str()).or_default().push(pick.seq);
        }
    }
    let Some(oldest) = undecided.values().flatten().min().copied() else {
        return Ok(0);
    };
    let mut overtaken = 0;
    let mut statement = conn.prepare_cached(&sql.done_behind)?;
    let mut done = statement.query([oldest])?;
    while !undecided.is_empty()
        && let Some(row) = done.next()?
    {
        let seq: i64 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_bytes().unwrap_or_default();
        let key = String::from_utf8_lossy(bytes);
        // The first one met is the newest done row of its key.
        if let Some(seqs) = undecided.remove(key.as_ref()) {
            let before = seqs.iter().filter(|pick| **pick < seq).count();
            overtaken += u64::try_from(before).unwrap_or(u64::MAX);
        }
    }
    Ok(overtaken)
}

impl Pick {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            revision: row.get(1)?,
            key: row::key(row.get_ref(2)?),
        })
    }
}

/// The states as bits, which is how statements take a set of them.
fn mask(states: &[State]) -> i64 {
    states
        .iter()
        .fold(0, |mask, state| mask | (1 << state.code()))
}

fn rows<T>(
    conn: &Connection,
    statement: &str,
    params: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let mut statement = conn.prepare_cached(statement)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
