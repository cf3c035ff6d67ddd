//! Statements of an instance that sleeps.

use super::{Names, Statement};

/// Asks for K without waiting. One advisory lock of the session.
const ASK: &str = "select pg_catalog.pg_try_advisory_lock({{wake_key}})";

/// Gives K back, however often it was taken.
const GIVE_BACK: &str = "select pg_catalog.pg_advisory_unlock_all()::text";

/// The statements of an instance that sleeps.
#[derive(Debug)]
pub(crate) struct WakeSql {
    pub(crate) ask: Statement,
    pub(crate) give_back: Statement,
}

impl WakeSql {
    pub(crate) fn new(names: &Names) -> Self {
        Self {
            ask: Statement::new(names, ASK),
            give_back: Statement::new(names, GIVE_BACK),
        }
    }
}
