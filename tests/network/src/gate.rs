//! The gate: where calls pass by on their way to the server.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use iobox_testkit::servers::{Cable, Fault};
use tokio::{sync::oneshot, time::timeout};

use crate::script::Event;

/// How long a call of any kind may be away; the load makes some of each all the time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cable, and the faults that wait for a call.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) cable: Cable,
    waiting: Mutex<Option<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    calls: u32,
    faults: &'static [Fault],
    met: oneshot::Sender<()>,
}

impl Gate {
    pub(crate) const fn new(cable: Cable) -> Self {
        Self {
            cable,
            waiting: Mutex::new(None),
        }
    }

    /// Lets a call pass, which finds what waits for it.
    pub(crate) fn pass(&self, event: Event) {
        let mut slot = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = slot.as_mut().filter(|waiting| waiting.event == event) else {
            return;
        };
        waiting.calls = waiting.calls.saturating_sub(1);
        if waiting.calls > 0 {
            return;
        }
        if let Some(waiting) = slot.take() {
            self.apply(waiting.faults);
            // Nobody waits any more only when the test has failed.
            let _ = waiting.met.send(());
        }
    }

    pub(crate) fn apply(&self, faults: &[Fault]) {
        for fault in faults {
            self.cable.apply(*fault);
        }
    }

    /// Waits until the last of so many calls has found the faults.
    ///
    /// # Panics
    /// When there are too few calls.
    pub(crate) async fn meet(&self, event: Event, calls: u32, faults: &'static [Fault]) {
        let (met, meeting) = oneshot::channel();
        let waiting = Waiting {
            event,
            calls,
            faults,
            met,
        };
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        let met = timeout(PATIENCE, meeting).await;
        met.unwrap_or_else(|_| panic!("there are no {calls} calls of {event:?}"))
            .expect("the gate is there");
    }
}
