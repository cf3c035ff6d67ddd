//! The gate: the writers of one store wait here for their turn, in order.
//!
//! SQLite lets writers of one file find out by polling who is next, and one that commits in a loop
//! can keep the others out. Within a store the gate is fair, and renewals go first.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iobox_core::{Error, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::Failure;

/// How urgent a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// In the order of arrival.
    Normal,
    /// Before all that are normal: leases, which expire when they wait.
    Urgent,
}

/// One at a time, in the order of arrival.
pub(crate) struct Gate {
    line: Mutex<Line>,
    moved: Condvar,
    patience: Duration,
}

#[derive(Default)]
struct Line {
    taken: bool,
    next: u64,
    urgent: VecDeque<u64>,
    normal: VecDeque<u64>,
}

/// The turn of a writer; dropping it lets the next one in.
pub(crate) struct Turn<'a>(&'a Gate);

impl Line {
    fn of(&mut self, urgency: Urgency) -> &mut VecDeque<u64> {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Normal => &mut self.normal,
        }
    }

    fn first(&self) -> Option<u64> {
        self.urgent.front().or_else(|| self.normal.front()).copied()
    }
}

impl Gate {
    /// A gate at which nobody waits longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            line: Mutex::default(),
            moved: Condvar::new(),
            patience,
        }
    }

    /// Waits for the caller's turn.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when it takes too long.
    pub(crate) fn enter(&self, urgency: Urgency) -> Result<Turn<'_>> {
        let mut line = self.line();
        let ticket = line.next;
        line.next += 1;
        line.of(urgency).push_back(ticket);
        let (mut line, timeout) = self
            .moved
            .wait_timeout_while(line, self.patience, |line| {
                line.taken || line.first() != Some(ticket)
            })
            .unwrap_or_else(PoisonError::into_inner);
        line.of(urgency).retain(|other| *other != ticket);
        if timeout.timed_out() {
            drop(line);
            // The one behind may have been waiting for this one to go.
            self.moved.notify_all();
            return Err(Error::unavailable(
                "another transaction of this process held the database for too long",
            ));
        }
        line.taken = true;
        Ok(Turn(self))
    }

    /// Runs `work` in a transaction that may write from its start, and commits it.
    pub(crate) fn write<T>(
        &self,
        urgency: Urgency,
        conn: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _turn = self.enter(urgency)?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&tx)?;
        tx.commit()?;
        Ok(result)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.line().taken = false;
        self.0.moved.notify_all();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    fn waiting(gate: &Gate) -> usize {
        let line = gate.line();
        line.urgent.len() + line.normal.len()
    }

    #[test]
    fn the_urgent_go_first_and_the_rest_in_order() {
        let gate = Gate::new(Duration::from_secs(10));
        let (done, order) = mpsc::sync_channel(8);
        thread::scope(|scope| {
            let turn = gate.enter(Urgency::Normal).expect("free");
            let arrivals = [
                ("first", Urgency::Normal),
                ("second", Urgency::Normal),
                ("lease", Urgency::Urgent),
            ];
            for (at, (name, urgency)) in arrivals.into_iter().enumerate() {
                let (gate, done) = (&gate, done.clone());
                scope.spawn(move || {
                    let _turn = gate.enter(urgency).expect("a turn");
                    done.send(name).expect("a reader");
                });
                while waiting(gate) <= at {
                    thread::yield_now();
                }
            }
            drop(turn);
        });
        drop(done);
        assert_eq!(
            order.iter().collect::<Vec<_>>(),
            ["lease", "first", "second"]
        );
    }

    #[test]
    fn who_waits_too_long_goes_and_keeps_nobody_back() {
        let gate = Gate::new(Duration::from_millis(20));
        let turn = gate.enter(Urgency::Normal).expect("free");
        assert!(gate.enter(Urgency::Urgent).is_err());
        drop(turn);
        assert_eq!(waiting(&gate), 0);
        assert!(gate.enter(Urgency::Normal).is_ok());
    }
}
