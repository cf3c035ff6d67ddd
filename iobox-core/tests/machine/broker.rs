//! The model broker: what becomes of an execution, by the nature of its message and by plan.

use std::time::Duration;

use iobox_core::dispatch::Outcome;

use crate::{
    plan::{Nature, RunFault},
    rig::{ms, ok, permanent, transient, unavailable, unknown},
};

/// The broker that all processes of a world share.
#[derive(Debug)]
pub(crate) struct Broker {
    faults: std::vec::IntoIter<RunFault>,
    /// Until when it answers nobody.
    pub(crate) down: Duration,
}

/// How an execution ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) after: Duration,
    /// Whether the broker takes the message.
    pub(crate) taken: bool,
    /// What the process learns; nothing if it dies.
    pub(crate) outcome: Option<Outcome>,
}

impl Broker {
    pub(crate) fn new(faults: Vec<RunFault>) -> Self {
        Self {
            faults: faults.into_iter(),
            down: ms(0),
        }
    }

    pub(crate) fn execute(&mut self, nature: Nature, now: Duration, timeout: Duration) -> End {
        let fault = self.faults.next().unwrap_or(RunFault::Slow(2));
        let (after, taken, outcome) = match (nature, fault) {
            (Nature::Deadly, _) => (ms(5), false, None),
            (_, RunFault::Unavailable) => (ms(1), false, Some(unavailable())),
            _ if self.down > now => (ms(1), false, Some(unavailable())),
            (Nature::Breaks, _) => (timeout, false, Some(unknown())),
            (Nature::Rejected, RunFault::Slow(after)) => (ms(after), false, Some(permanent())),
            (Nature::Rejected, _) => (ms(1), false, Some(permanent())),
            (_, RunFault::Slow(after)) => (ms(after), true, Some(ok())),
            (_, RunFault::Transient(after)) => (ms(after), false, Some(transient())),
            (_, RunFault::Permanent(after)) => (ms(after), false, Some(permanent())),
            (_, RunFault::UnknownTaken(after)) => (ms(after), true, Some(unknown())),
            (_, RunFault::UnknownLost(after)) => (ms(after), false, Some(unknown())),
        };
        End {
            after: after.min(timeout),
            taken,
            outcome,
        }
    }
}
