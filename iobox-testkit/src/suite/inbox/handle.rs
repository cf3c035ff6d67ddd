//! Handling: inboxes that run, and what becomes of their messages.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use iobox_core::{
    Inbox, Router,
    handler::{self, Handler, HandlerError, TxHandler},
    inbox::{Delivery, HandlerPolicy},
    message::{Draft, Message, MessageId},
    queue::Queue,
    store::{Admin, Body, Enqueue, Entry, Receive, Selection, State, Subscribe, Transact},
};

use super::support::{
    Notes, delivery, finish, inbox, name, queue, quick, receive, stats, subscribe,
};
use crate::suite::{
    Harness,
    support::{PATIENCE, partitions, plain},
};

/// The row of a handler with this id, with its body.
async fn entry<S: Subscribe>(store: &S, handler: &str, id: &str) -> Entry {
    let of = store.queue_of(&name(handler)).await.expect("a queue");
    let id = MessageId::new(id).expect("an id");
    let entry = of.get(&queue(handler), &id).await.expect("get");
    entry.expect("the row is there")
}

/// Handles deliveries of topic `t` with one handler of a policy until nothing is left.
async fn handled<H: Harness>(policy: HandlerPolicy, all: &[(&str, &str)]) -> (H, Notes)
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let notes = Notes::new();
    let mut router = Router::new();
    router.on("t", "a", notes.clone()).policy(policy);
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    let all: Vec<_> = all.iter().map(|(id, key)| delivery("t", id, key)).collect();
    receive(store, &all).await;
    finish(inbox.spawn()).await;
    (harness, notes)
}

/// Every handler that matches handles every message, whatever its topic pattern looks like.
pub async fn every_handler_handles_every_message<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let (exact, one, any) = (Notes::new(), Notes::new(), Notes::new());
    let mut router = Router::new();
    router.on("orders.created", "exact", exact.clone());
    router.on("orders.*", "one", one.clone());
    router.on("orders.>", "any", any.clone()).also("bills.>");
    let running = inbox(store, router);
    let handle = running.spawn();
    running.subscribe().await.expect("subscribe");
    let all = [
        delivery("orders.created", "1", ""),
        delivery("orders.paid", "2", "k"),
        delivery("orders.paid.eu", "3", "k"),
        delivery("bills.paid", "4", ""),
    ];
    receive(store, &all).await;
    finish(handle).await;
    assert_eq!(exact.sorted(), ["1"]);
    assert_eq!(one.sorted(), ["1", "2"]);
    assert_eq!(any.sorted(), ["1", "2", "3", "4"]);
}

/// A message that fails is run again, after the backoff or when the handler says.
pub async fn a_failed_attempt_is_repeated<H: Harness>()
where
    H::Store: Receive,
{
    let all = [
        ("retry-2", "k"),
        ("ok", "k"),
        ("later-3", "l"),
        ("fine", ""),
    ];
    let (harness, notes) = handled::<H>(quick(10), &all).await;
    assert_eq!(notes.sorted(), ["fine", "later-3", "ok", "retry-2"]);
    assert_eq!((notes.calls("retry-2"), notes.calls("later-3")), (3, 4));
    let row = entry(harness.store().as_ref(), "a", "retry-2").await;
    assert_eq!((row.state, row.attempt), (State::Done, 3));
}

/// A message that its handler rejects is a dead letter at once and keeps its payload; so is one whose
/// payload a typed handler cannot read.
pub async fn a_rejected_message_is_a_dead_letter_and_keeps_its_payload<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let mut router = Router::new();
    router.on("t", "a", Notes::new());
    router.on("t", "typed", handler::json(|_: u32, _| async { Ok(()) }));
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    receive(store, &[delivery("t", "reject-9", "")]).await;
    finish(inbox.spawn()).await;
    for handler in ["a", "typed"] {
        let row = entry(store, handler, "reject-9").await;
        assert_eq!((row.state, row.attempt), (State::Dead, 1), "{handler}");
        let Some(Body::Message(message)) = row.body else {
            panic!("the message is kept");
        };
        assert_eq!(&message.payload()[..], b"reject-9");
        let reason = row.reason.expect("a reason");
        assert!(!reason.contains("reject-9"), "{reason}");
    }
}

/// A message that goes on failing is a dead letter after its last attempt.
pub async fn a_message_dies_after_its_last_attempt<H: Harness>()
where
    H::Store: Receive,
{
    let (harness, notes) = handled::<H>(quick(3), &[("retry-9", "k"), ("ok", "")]).await;
    assert_eq!(
        (notes.calls("retry-9"), notes.handled()),
        (3, vec!["ok".to_owned()])
    );
    let row = entry(harness.store().as_ref(), "a", "retry-9").await;
    assert_eq!((row.state, row.attempt), (State::Dead, 3));
}

/// A handler that panics has failed once; it and the others go on.
pub async fn a_panic_is_a_failed_attempt<H: Harness>()
where
    H::Store: Receive,
{
    let all = [("panic-1", "k"), ("ok", "k"), ("fine", "")];
    let (harness, notes) = handled::<H>(quick(5), &all).await;
    assert_eq!(notes.sorted(), ["fine", "ok", "panic-1"]);
    let row = entry(harness.store().as_ref(), "a", "panic-1").await;
    assert_eq!((row.state, row.attempt), (State::Done, 2));
}

/// A handler that exceeds its timeout is cancelled and has failed once.
pub async fn a_handler_that_is_too_slow_is_a_failed_attempt<H: Harness>()
where
    H::Store: Receive,
{
    let policy = quick(5).timeout(Duration::from_millis(50)).concurrency(1);
    let (harness, notes) = handled::<H>(policy, &[("hang-1", "k"), ("ok", "k")]).await;
    assert_eq!(notes.handled(), ["hang-1", "ok"]);
    let row = entry(harness.store().as_ref(), "a", "hang-1").await;
    assert_eq!((row.state, row.attempt), (State::Done, 2));
}

/// Each handler has its own attempts and its own end: one that fails keeps no other from a message.
pub async fn one_handler_fails_and_the_others_go_on<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let good = Notes::new();
    let mut router = Router::new();
    router.on("t", "good", good.clone());
    let bad = handler::from_fn(|_| async { Err(HandlerError::Reject("no".into())) });
    router.on("t", "bad", bad);
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    receive(store, &[delivery("t", "1", ""), delivery("t", "2", "")]).await;
    finish(inbox.spawn()).await;
    assert_eq!(good.sorted(), ["1", "2"]);
    assert_eq!(
        (
            stats(store, "bad").await.dead,
            stats(store, "good").await.dead
        ),
        (2, 0)
    );
}

/// A handler gets the messages of a key in their order, also when attempts fail.
pub async fn the_order_of_a_key_holds_for_each_handler<H: Harness>()
where
    H::Store: Receive,
{
    let names = ["retry-1", "ok", "later-1", "panic-1", "fine"];
    let all: Vec<(String, String)> = (0..20)
        .flat_map(|n| (0..5).map(move |key| (n, key)))
        .map(|(n, key)| (format!("{}-{key}-{n:02}", names[n % 5]), format!("k{key}")))
        .collect();
    let refs: Vec<_> = all
        .iter()
        .map(|(id, key)| (id.as_str(), key.as_str()))
        .collect();
    let (_harness, notes) = handled::<H>(quick(5), &refs).await;
    let mut wanted = BTreeMap::<&str, Vec<&str>>::new();
    for (id, key) in &refs {
        wanted.entry(key).or_default().push(id);
    }
    let handled = notes.handled();
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for id in &handled {
        let (_, key) = refs.iter().find(|(other, _)| other == id).expect("known");
        found.entry(key).or_default().push(id);
    }
    assert_eq!(found, wanted);
}

/// A dead message halts its key for its own handler; other keys and other handlers go on.
pub async fn a_dead_message_halts_its_key_for_its_handler_alone<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let (strict, other) = (Notes::new(), Notes::new());
    let mut router = Router::new();
    router.on("t", "strict", strict.clone());
    let all_fine = other.clone();
    router.on(
        "t",
        "other",
        handler::from_fn(move |message: Message| {
            let notes = all_fine.clone();
            async move {
                let renamed = Draft::new("t", "").id(format!("x{}", message.id()));
                let renamed = Delivery::foreign(&renamed)?;
                Handler::handle(&notes, renamed.message()).await
            }
        }),
    );
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    let all = [
        delivery("t", "reject-1", "k"),
        delivery("t", "behind", "k"),
        delivery("t", "beside", "l"),
    ];
    receive(store, &all).await;
    let handle = inbox.spawn();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while other.handled().len() < 3 || strict.handled().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the others go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.drain().await.expect("a drain");
    assert_eq!(strict.handled(), ["beside"]);
    let row = entry(store, "strict", "behind").await;
    assert!(matches!(row.state, State::Pending | State::Waiting));
    assert_eq!(stats(store, "strict").await.halted_keys, 1);
    assert_eq!(other.sorted(), ["xbehind", "xbeside", "xreject-1"]);
}

/// During a rolling deploy, and when a handler is retired, each handler handles exactly what was
/// received while it was subscribed.
pub async fn a_rolling_deploy_gives_each_handler_its_messages<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let other = harness.another().await;
    let (a, b, c) = (Notes::new(), Notes::new(), Notes::new());
    let program = |store: &H::Store, handlers: &[(&str, &Notes)]| -> Inbox<H::Store> {
        let mut router = Router::new();
        for (name, notes) in handlers {
            router.on("t", *name, (*notes).clone());
        }
        inbox(store, router)
    };
    let old = program(store, &[("a", &a), ("b", &b)]);
    let new = program(other.as_ref(), &[("b", &b), ("c", &c)]);
    old.subscribe().await.expect("subscribe");
    let old_handle = old.spawn();
    receive(store, &[delivery("t", "1", "k")]).await;
    new.subscribe().await.expect("subscribe");
    let new_handle = new.spawn();
    receive(store, &[delivery("t", "2", "k")]).await;
    receive(other.as_ref(), &[delivery("t", "3", "k")]).await;
    finish(old_handle).await;
    // Handler a is in no program now, and is still subscribed.
    receive(other.as_ref(), &[delivery("t", "4", "k")]).await;
    assert_eq!(stats(store, "a").await.pending, 1);
    store.retire(&name("a")).await.expect("retire");
    receive(other.as_ref(), &[delivery("t", "5", "k")]).await;
    finish(new_handle).await;
    finish(program(store, &[("a", &a)]).spawn()).await;
    assert_eq!(a.handled(), ["1", "2", "3", "4"]);
    assert_eq!(b.handled(), ["1", "2", "3", "4", "5"]);
    assert_eq!(c.handled(), ["2", "3", "4", "5"]);
}

/// Enqueues one message into the outbox, and fails the first two times.
struct Chain<S>(S, AtomicU32);

#[async_trait]
impl<S: Enqueue> TxHandler<S::Tx> for Chain<S> {
    async fn handle(&self, tx: &mut S::Tx, message: &Message) -> Result<(), HandlerError> {
        let draft = plain(message.id());
        self.0.enqueue(tx, &[draft]).await?;
        if self.1.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err("after the effect".into());
        }
        Ok(())
    }
}

/// What a transactional handler enqueues is there once for each message that it handled, and never
/// from an attempt that failed.
pub async fn a_handler_commits_with_what_it_enqueues<H: Harness>()
where
    H::Store: Transact,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let mut router = Router::new();
    let chain = Chain(store.clone(), AtomicU32::new(0));
    router.on_tx("t", "chain", chain).policy(quick(10));
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    let ids: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    let all: Vec<_> = ids.iter().map(|id| delivery("t", id, "k")).collect();
    receive(store, &all).await;
    finish(inbox.spawn()).await;
    let enqueued = store.stats(&Queue::Outbox).await.expect("stats").pending;
    assert_eq!(enqueued, 20);
    assert_eq!(entry(store, "chain", "00").await.attempt, 3);
    assert_eq!(entry(store, "chain", "19").await.state, State::Done);
}

/// A dead letter that is replayed is handled, and then what waited behind it.
pub async fn a_replayed_dead_letter_is_handled<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(4)).await;
    let store = harness.store().as_ref();
    let notes = Notes::new();
    let mut router = Router::new();
    router.on("t", "a", notes.clone());
    let inbox = inbox(store, router);
    inbox.subscribe().await.expect("subscribe");
    receive(
        store,
        &[delivery("t", "reject-1", "k"), delivery("t", "next", "k")],
    )
    .await;
    let handle = inbox.spawn();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stats(store, "a").await.dead == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it dies");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let of = store.queue_of(&name("a")).await.expect("a queue");
    let selection = Selection::One(MessageId::new("reject-1").expect("an id"));
    let replayed = of.replay(&queue("a"), &selection, false).await;
    assert_eq!(replayed.expect("replay").count, 1);
    finish(handle).await;
    assert_eq!(notes.handled(), ["reject-1", "next"]);
}

/// A handler that runs for longer than the time-to-live of its lease is run once, since the lease is
/// renewed meanwhile.
pub async fn a_slow_handler_outlasts_its_lease<H: Harness>()
where
    H::Store: Receive,
{
    let harness = H::fresh(partitions(1)).await;
    let store = harness.store().as_ref();
    let calls = Notes::new();
    let mut router = Router::new();
    let noted = calls.clone();
    router.on(
        "t",
        "slow",
        handler::from_fn(move |message: Message| {
            let notes = noted.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                Handler::handle(&notes, &message).await
            }
        }),
    );
    let inbox = Inbox::builder(store.clone(), router)
        .time_to_live(Duration::from_secs(1))
        .build()
        .expect("an inbox");
    subscribe(store, &[("t", "slow")]).await;
    receive(store, &[delivery("t", "1", "")]).await;
    finish(inbox.spawn()).await;
    assert_eq!((calls.calls("1"), calls.handled().len()), (1, 1));
}
