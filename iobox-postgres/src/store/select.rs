//! The selection: which rows a person means, as the parameters of a statement.

use std::time::SystemTime;

use iobox_core::store::{Filter, Selection, State};
use sqlx::{Postgres, postgres::PgArguments, query::Query};

use super::PostgresStore;
use crate::sql::{SelectionSql, Statement};

/// The most rows that one replay or discard changes.
const CHANGE_MAX: i64 = 10_000;

type Bound = Query<'static, Postgres, PgArguments>;

impl PostgresStore {
    /// The statement for `selection` among rows in `allowed` states, with its parameters.
    pub(super) fn selection(
        &self,
        selection: &Selection,
        allowed: &[State],
        pick: fn(&SelectionSql) -> &Statement,
        dry_run: bool,
    ) -> Bound {
        let admin = &self.sql.admin;
        // One row more than is changed shows whether there are more.
        let limit = CHANGE_MAX + 1;
        match selection {
            Selection::One(id) => pick(&admin.one)
                .query()
                .bind(codes(allowed))
                .bind(id.as_str().to_owned())
                .bind(limit)
                .bind(dry_run),
            Selection::Matching(filter) => self
                .filter(pick(&admin.matching), filter, allowed)
                .bind(i64::MIN)
                .bind(limit)
                .bind(dry_run),
            Selection::PublishedSince { since, until } => pick(&admin.settled_since)
                .query()
                .bind(codes(allowed))
                .bind(since_epoch(*since))
                .bind(until.map_or(i64::MAX / 2, since_epoch))
                .bind(limit)
                .bind(dry_run),
            // A kind of selection that this version does not know selects nothing.
            _ => pick(&admin.one)
                .query()
                .bind(Vec::<i16>::new())
                .bind(String::new())
                .bind(limit)
                .bind(dry_run),
        }
    }

    /// Binds states, partitions, topic and key.
    pub(super) fn filter(
        &self,
        statement: &Statement,
        filter: &Filter,
        allowed: &[State],
    ) -> Bound {
        let states: Vec<State> = allowed
            .iter()
            .copied()
            .filter(|state| filter.states.is_empty() || filter.states.contains(state))
            .collect();
        let partitions = self.config.partitions;
        let home = filter.key.as_ref().map(|key| partitions.of(key.as_str()));
        let numbers: Vec<i16> = partitions
            .iter()
            .filter(|partition| filter.partition.is_none_or(|wanted| wanted == *partition))
            .filter(|partition| home.is_none_or(|home| home == *partition))
            .map(|partition| self.shelf.number(partition))
            .collect();
        statement
            .query()
            .bind(codes(&states))
            .bind(numbers)
            .bind(filter.topic.as_ref().map(|topic| topic.as_str().to_owned()))
            .bind(filter.key.as_ref().map(|key| key.as_str().to_owned()))
    }
}

fn codes(states: &[State]) -> Vec<i16> {
    states.iter().map(|state| state.code()).collect()
}

fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, super::micros)
}
