//! Observing: tells a program's observer what the store confirmed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    dispatch::{Event, Failure},
    observer::{Observed, Observer},
    queue::Queue,
};

/// Tells `observer` of `event`, if it is one of those that it hears of.
pub(super) fn tell(observer: &Arc<dyn Observer>, queue: &Queue, event: &Event) {
    match event {
        Event::PutBack(failure) => guarded(queue, || observer.on_retry(&observed(queue, failure))),
        Event::Dead(failure) => {
            guarded(queue, || observer.on_dead(&observed(queue, failure)));
            if failure.halts {
                guarded(queue, || observer.on_halted(&observed(queue, failure)));
            }
        }
        _ => {}
    }
}

fn observed<'a>(queue: &'a Queue, failure: &'a Failure) -> Observed<'a> {
    Observed {
        queue,
        seq: failure.seq,
        id: failure.id.as_ref(),
        topic: failure.topic.as_ref(),
        attempt: failure.attempt,
        reason: &failure.reason,
        halts: failure.halts,
    }
}

/// A panic of the program's code must not end the driver. What it left half done is the program's own.
fn guarded(queue: &Queue, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!(%queue, "the observer panicked");
    }
}
