//! What the builder of an inbox refuses, and what handlers of it may do.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use iobox_core::{
    ErrorKind, Inbox, Router,
    handler::{self, HandlerError},
    inbox::{Delivery, HandlerPolicy, InboxBuilder, SourceName},
    memory::MemoryStore,
    message::{Draft, Message},
    partition::Partitions,
};

async fn fine(_: Message) -> Result<(), HandlerError> {
    Ok(())
}

fn store() -> MemoryStore {
    MemoryStore::new(Partitions::DEFAULT)
}

fn router(routes: &[(&str, &str)]) -> Router<MemoryStore> {
    let mut router = Router::new();
    for (pattern, name) in routes {
        router.on(*pattern, *name, handler::from_fn(fine));
    }
    router
}

fn refusal(builder: InboxBuilder<MemoryStore>) -> String {
    let error = builder.build().expect_err("it breaks a bound");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[test]
fn names_and_patterns_are_checked() {
    for (routes, text) in [
        (&[][..], "no handler"),
        (&[("t", "")][..], "1 to 100"),
        (&[("t", "a b")][..], "byte 1"),
        (&[("t", "a"), ("u", "a")][..], "name a"),
        (&[("", "a")][..], "handler a"),
        (&[("t.>.u", "a")][..], "handler a"),
        (&[("t", "a"), ("o*", "b")][..], "handler b"),
    ] {
        let refused = refusal(Inbox::builder(store(), router(routes)));
        assert!(refused.contains(text), "{routes:?}: {refused}");
    }
    let long = "n".repeat(101);
    refusal(Inbox::builder(store(), router(&[("t", long.as_str())])));
    let allowed = router(&[("orders.*", "send-invoice_2.eu/x")]);
    assert!(Inbox::builder(store(), allowed).build().is_ok());
}

#[test]
fn settings_are_checked() {
    let builder = || Inbox::builder(store(), router(&[("t", "a")]));
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3_600));
    for (builder, text) in [
        (builder().time_to_live(second / 2), "time_to_live"),
        (builder().poll(second, second / 2), "poll longest"),
        (builder().max_crashes(0), "max_crashes"),
        (builder().max_buffered_bytes(7), "max_buffered_bytes"),
        (builder().redelivery_horizon(second), "redelivery_horizon"),
        // A row must not go, and its mark with it, while its message may still arrive.
        (builder().retention(day), "retention"),
        (builder().unrouted_retention(day), "unrouted_retention"),
    ] {
        let refused = refusal(builder);
        assert!(refused.contains(text), "{refused}");
    }
    for policy in [
        HandlerPolicy::new().concurrency(0),
        HandlerPolicy::new().timeout(Duration::ZERO),
    ] {
        let mut router = router(&[("t", "a")]);
        router.on("t", "b", handler::from_fn(fine)).policy(policy);
        let refused = refusal(Inbox::builder(store(), router));
        assert!(refused.contains("handler b"), "{refused}");
    }
}

#[tokio::test]
async fn deliveries_are_checked() {
    let inbox = Inbox::builder(store(), router(&[("t", "a")])).build();
    let inbox = inbox.expect("an inbox");
    assert!(Delivery::foreign(&Draft::new("t", "x")).is_err(), "no id");
    assert!(Delivery::foreign(&Draft::new("a b", "x").id(1)).is_err());
    assert!(SourceName::new("").is_err() && SourceName::new("a b").is_err());
    let one = Delivery::foreign(&Draft::new("t", "x").id(1)).expect("a delivery");
    let many = vec![one; Inbox::<MemoryStore>::BATCH_MAX + 1];
    let source = SourceName::new("shop").expect("a source");
    let error = inbox.receive(&source, &many).await.expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// An error that cannot say what it is.
#[derive(Debug)]
struct Mute;

impl fmt::Display for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

impl std::error::Error for Mute {}

/// It is a failed attempt as any other, and its slot is free again.
#[tokio::test]
async fn an_error_that_cannot_be_read_is_a_failed_attempt() {
    let store = store();
    let calls = Arc::new(AtomicUsize::new(0));
    let (mut router, count) = (Router::new(), Arc::clone(&calls));
    let handler = handler::from_fn(move |_: Message| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                return Err(HandlerError::Retry(Box::new(Mute)));
            }
            Ok(())
        }
    });
    let policy = HandlerPolicy::new().concurrency(1);
    router.on("t", "a", handler).policy(policy);
    let inbox = Inbox::builder(store, router).build().expect("an inbox");
    inbox.subscribe().await.expect("subscribe");
    let source = SourceName::new("shop").expect("a source");
    let all = [1, 2].map(|id| Delivery::foreign(&Draft::new("t", "x").id(id)).expect("a delivery"));
    inbox.receive(&source, &all).await.expect("receive");
    let running = inbox.spawn();
    let patience = Duration::from_secs(20);
    running.wait_until_empty(patience).await.expect("handled");
    running.drain().await.expect("a drain");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
