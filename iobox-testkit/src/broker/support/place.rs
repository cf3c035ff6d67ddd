//! What the place of a broker holds, and waiting for it to change.

use std::sync::Arc;

use iobox_core::message::Message;
use tokio::time::{sleep, timeout};

use super::{LOOK, PATIENCE, is_unavailable, is_unknown, labelled, publish_one};
use crate::broker::{Harness, Stored};

/// Checks that the place holds exactly `messages`, in their order within each topic.
///
/// # Panics
/// When it does not.
pub async fn assert_holds<H: Harness>(harness: &H, messages: &[Message]) {
    let neutral = |one: Stored| {
        if H::KEEPS_HEADER_ORDER {
            one
        } else {
            one.sorted()
        }
    };
    let mut kept: Vec<_> = harness.stored().await.into_iter().map(neutral).collect();
    let mut expected: Vec<_> = messages.iter().map(Stored::of).map(neutral).collect();
    // Stable: the order within a topic stays.
    kept.sort_by(|one, other| one.topic.cmp(&other.topic));
    expected.sort_by(|one, other| one.topic.cmp(&other.topic));
    for (at, (kept, expected)) in kept.iter().zip(&expected).enumerate() {
        assert!(kept == expected, "at {at}: {kept:?} is not {expected:?}");
    }
    assert_eq!(kept.len(), expected.len(), "the place holds {kept:?}");
}

/// The ids that the place holds, in order.
pub async fn ids<H: Harness>(harness: &H) -> Vec<String> {
    let stored = harness.stored().await.into_iter();
    stored.map(|one| one.id).collect()
}

/// The payloads that the place holds, as text, in order.
pub async fn labels<H: Harness>(harness: &H) -> Vec<String> {
    let stored = harness.stored().await.into_iter();
    stored
        .map(|one| String::from_utf8_lossy(&one.payload).into_owned())
        .collect()
}

/// Publishes messages `<stem>-0` and so on, one after the other, until one is refused as
/// unavailable; returns those ids with an unknown outcome, and those refused as unavailable.
///
/// # Panics
/// When one is confirmed, or none is ever refused as unavailable.
pub async fn until_unavailable<P>(publisher: &P, stem: &str) -> (Vec<String>, Vec<String>)
where
    P: iobox_core::publisher::Publisher + ?Sized,
{
    let (mut unknown, mut refused) = (Vec::new(), Vec::new());
    let found = timeout(PATIENCE, async {
        while refused.is_empty() {
            let id = format!("{stem}-{}", unknown.len());
            let outcome = publish_one(publisher, &labelled(&id)).await;
            if is_unavailable(&outcome) {
                refused.push(id);
            } else {
                assert!(is_unknown(&outcome), "{id} cannot arrive: {outcome:?}");
                unknown.push(id);
            }
        }
    });
    assert!(found.await.is_ok(), "the lost connection is not noticed");
    (unknown, refused)
}

/// Mends the line and probes until the publisher has noticed.
///
/// # Panics
/// When it does not.
pub async fn mended<H: Harness>(harness: &H) -> Arc<H::Publisher> {
    use iobox_core::publisher::Publisher as _;

    harness.mend().await;
    let publisher = Arc::clone(harness.publisher());
    let noticed = timeout(PATIENCE, async {
        while publisher.probe().await.is_err() {
            sleep(LOOK).await;
        }
    });
    assert!(noticed.await.is_ok(), "the publisher does not come back");
    publisher
}
