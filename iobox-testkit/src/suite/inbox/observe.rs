//! Observing: what an observer of an inbox hears.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iobox_core::{
    Inbox, Router,
    dispatch::DeadLetterPolicy,
    observer::{Observed, Observer},
    store::Receive,
};

use super::support::{Notes, delivery, finish, quick, receive};
use crate::suite::{Harness, support::partitions};

/// An observer hears of every attempt that failed and of every message that died, by handler.
pub async fn an_observer_hears_of_failures<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let heard = Heard::default();
    let mut router = Router::new();
    router.on("t", "a", Notes::new()).policy(quick(3));
    let skips = quick(3).dead_letters(DeadLetterPolicy::Skip);
    router.on("t", "b", Notes::new()).policy(skips);
    let inbox = Inbox::builder(store.clone(), router)
        .poll(Duration::from_millis(2), Duration::from_millis(20))
        .observer(heard.clone())
        .build()
        .expect("an inbox");
    inbox.subscribe().await.expect("subscribe");
    let all = [
        delivery("t", "retry-1", "k"),
        delivery("t", "panic-9", ""),
        delivery("t", "reject-9", "l"),
        delivery("t", "fine", "m"),
    ];
    receive(store, &all).await;
    finish(inbox.spawn()).await;
    let of = |handler: &str, halts: bool| {
        let line = |what: &str| format!("inbox/{handler} {what}");
        let mut lines = vec![
            line("retry retry-1 1 false"),
            line("retry panic-9 1 false"),
            line("retry panic-9 2 false"),
            line("dead panic-9 3 false"),
            line(&format!("dead reject-9 1 {halts}")),
        ];
        lines.extend(halts.then(|| line("halted reject-9 1 true")));
        lines
    };
    let mut wanted = [of("a", true), of("b", false)].concat();
    wanted.sort_unstable();
    assert_eq!(heard.sorted(), wanted);
}

/// An observer that notes what it hears.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, what: &str, message: &Observed<'_>) {
        let (queue, attempt, halts) = (message.queue, message.attempt, message.halts);
        let id = message.id.expect("the row can be decoded");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{queue} {what} {id} {attempt} {halts}"));
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        lines.sort_unstable();
        lines
    }
}

impl Observer for Heard {
    fn on_retry(&self, message: &Observed<'_>) {
        self.note("retry", message);
    }

    fn on_dead(&self, message: &Observed<'_>) {
        self.note("dead", message);
    }

    fn on_halted(&self, message: &Observed<'_>) {
        self.note("halted", message);
    }
}
