//! Rehearsing: a handler is run on a stored message, says how it ended, and leaves no trace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    ErrorKind, Inbox, Router,
    handler::{Handler, HandlerError, TxHandler},
    inbox::{HandlerPolicy, Rehearsed},
    message::{Message, MessageId},
    queue::Queue,
    store::{
        Admin, Change, Enqueue, Filter, Page, Settled, Settlement, State, Store, Subscribe,
        Transact, Verdict,
    },
};

use super::support::{
    Notes, Worker, delivery, finish, inbox, name, queue, receive, stats, subscribe,
};
use crate::suite::{
    Harness,
    support::{partitions, plain},
};

/// The timeout of the handler.
const LIMIT: Duration = Duration::from_secs(2);

/// Enqueues a message into the outbox, and then ends as the id says.
#[derive(Clone)]
struct Effect<S> {
    store: S,
    ends: Notes,
    calls: Arc<AtomicU32>,
}

impl<S> Effect<S> {
    fn new(store: S) -> Self {
        Self {
            store,
            ends: Notes::new(),
            calls: Arc::default(),
        }
    }
}

#[async_trait]
impl<S: Enqueue> TxHandler<S::Tx> for Effect<S> {
    async fn handle(&self, tx: &mut S::Tx, message: &Message) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.store.enqueue(tx, &[plain(message.id())]).await?;
        self.ends.handle(message).await
    }
}

/// An inbox with the transactional handler `a`.
fn program<S: Transact>(store: &S) -> (Inbox<S>, Effect<S>) {
    let effect = Effect::new(store.clone());
    let mut router = Router::new();
    let policy = HandlerPolicy::new().timeout(LIMIT);
    router.on_tx("t", "a", effect.clone()).policy(policy);
    (inbox(store, router), effect)
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).expect("an id")
}

/// All that a person can see of the handler's queue and of the outbox.
async fn seen<S: Subscribe>(store: &S) -> Vec<String> {
    let of = store.queue_of(&name("a")).await.expect("a queue");
    let all = Filter::default();
    let mut seen = Vec::new();
    for (store, queue) in [(&of, queue("a")), (store, Queue::Outbox)] {
        let entries = store.list(&queue, &all, Page::default()).await;
        let entries = entries.expect("a list");
        seen.extend(entries.iter().map(|entry| format!("{queue} {entry:?}")));
    }
    seen
}

/// A rehearsal changes nothing, whatever the state of the message and however the handler ends; a
/// worker that holds the message goes on, and the message is handled as if there had been none.
pub async fn a_rehearsal_changes_nothing<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    subscribe(store, &[("t", "a")]).await;
    let ids = ["pending", "retrying", "dead", "done", "retry-1", "reject-1"];
    let all: Vec<_> = ids.iter().map(|id| delivery("t", id, "")).collect();
    receive(store, &all).await;
    let worker = Worker::new(store, "a").await;
    let rows = worker.fetch().await;
    let success = |at: usize| worker.success(&rows[at]);
    let settlements = [
        (1, retry()),
        (2, dead()),
        (3, Verdict::Done { duplicate: false }),
    ]
    .map(|(at, verdict)| Settlement {
        change: Change::Verdict(verdict),
        ..success(at)
    });
    let settled = worker.store().settle(&settlements).await.expect("settle");
    assert_eq!(settled, [Settled::Applied; 3]);
    let before = seen(store).await;
    let states = [State::Pending, State::Retrying, State::Dead, State::Done];
    for state in states {
        let shown = format!("state: {state:?}");
        assert!(before.iter().any(|entry| entry.contains(&shown)), "{shown}");
    }

    let (inbox, effect) = program(store);
    for one in ids {
        let rehearsed = inbox.rehearse(&name("a"), &id(one)).await;
        rehearsed.expect("a rehearsal");
        assert_eq!(seen(store).await, before, "{one}");
    }
    assert_eq!(effect.calls.load(Ordering::SeqCst), 6);

    let settled = worker.store().settle(&[success(0)]).await.expect("settle");
    assert_eq!(settled, [Settled::Applied], "its revision is the same");
    harness.advance(Duration::from_secs(3_600)).await;
    let (inbox, _) = program(store);
    finish(inbox.spawn()).await;
    let end = stats(store, "a").await;
    assert_eq!((end.unsettled(), end.dead), (0, 2));
    let outbox = store.stats(&Queue::Outbox).await.expect("stats");
    assert_eq!(outbox.pending, 2, "of the retry and of the retrying one");
}

fn retry() -> Verdict {
    Verdict::Retry {
        after: Duration::from_secs(600),
        reason: "not yet".into(),
    }
}

fn dead() -> Verdict {
    Verdict::Dead {
        reason: "never".into(),
        halts: true,
        uncertain: false,
    }
}

/// A rehearsal says what the handler returned, that it panicked, or that it did not end in time.
pub async fn a_rehearsal_says_how_the_handler_ended<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let (inbox, _) = program(store);
    inbox.subscribe().await.expect("subscribe");
    let reason = |text: &str| text.to_owned();
    let ends = [
        ("fine", Rehearsed::Handled),
        (
            "retry-1",
            Rehearsed::Retry {
                reason: reason("not yet"),
            },
        ),
        (
            "later-1",
            Rehearsed::RetryAfter {
                after: Duration::from_millis(1),
                reason: reason("not yet"),
            },
        ),
        (
            "reject-1",
            Rehearsed::Reject {
                reason: reason("never"),
            },
        ),
        ("panic-1", Rehearsed::Panicked),
        ("hang-1", Rehearsed::TimedOut { limit: LIMIT }),
    ];
    let all: Vec<_> = ends.iter().map(|(id, _)| delivery("t", id, "k")).collect();
    receive(store, &all).await;
    let before = seen(store).await;
    for (one, wanted) in ends {
        let rehearsed = inbox.rehearse(&name("a"), &id(one)).await;
        assert_eq!(rehearsed.expect("a rehearsal"), wanted, "{one}");
    }
    assert_eq!(seen(store).await, before);
    // The store takes the next transaction.
    let again = inbox.rehearse(&name("a"), &id("hang-1")).await;
    assert_eq!(again.expect("a rehearsal"), Rehearsed::Handled);
}

/// What cannot be rehearsed is refused, and the handler does not run: one that is not transactional,
/// one that the program does not have, a message that is not there.
pub async fn what_cannot_be_rolled_back_is_not_rehearsed<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let (plain, effect) = (Notes::new(), Effect::new(store.clone()));
    let mut router = Router::new();
    router.on("t", "plain", plain.clone());
    router.on_tx("t", "a", effect.clone());
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    receive(store, &[delivery("t", "1", "")]).await;
    for (handler, message, says) in [
        ("plain", "1", "no transaction"),
        ("nobody", "1", "no handler nobody"),
        ("a", "2", "no message"),
    ] {
        let refused = inbox.rehearse(&name(handler), &id(message)).await;
        let error = refused.expect_err("it cannot be rehearsed");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{handler}: {error}");
        assert!(error.to_string().contains(says), "{handler}: {error}");
    }
    assert_eq!(plain.calls("1"), 0);
    assert_eq!(effect.calls.load(Ordering::SeqCst), 0);
}
