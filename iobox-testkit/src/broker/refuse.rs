//! Refusals: an answer about one message says nothing about the others.

use iobox_core::{
    message::Message,
    publisher::{PublishError, Receipt},
};

use super::{
    Harness,
    support::{ORIGIN, Outcome, ids, message, publish, topic},
};

const REFUSED: &str = "refused.topic";
const TAKEN: &str = "taken.topic";

/// A message of the batch: refused where `n` is odd.
fn nth(n: usize) -> Message {
    let id = n.to_string();
    let topic = if n % 2 == 1 { REFUSED } else { TAKEN };
    message(ORIGIN, &id, topic, Some(&id), &[], id.clone())
}

async fn refusing<H: Harness>() -> H {
    let harness = H::fresh().await;
    if H::REFUSES_TOPICS {
        harness.refuse(&topic(REFUSED)).await;
    }
    harness
}

fn check<H: Harness>(n: usize, outcome: &Outcome) {
    if n % 2 == 1 && H::REFUSES_TOPICS {
        assert!(outcome.is_err(), "message {n} is refused by the broker");
    } else {
        assert_eq!(*outcome, Ok(Receipt::new()), "message {n}");
    }
}

/// A message that the broker refuses leaves the others of its batch alone: each outcome stands at
/// the index of its message. Where a broker refuses nothing, all arrive.
pub async fn a_refused_message_leaves_its_neighbours_alone<H: Harness>() {
    let harness = refusing::<H>().await;
    let batch: Vec<Message> = (0..100).map(nth).collect();
    let outcomes = publish(harness.publisher().as_ref(), &batch).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        check::<H>(n, outcome);
    }
    let kept = ids(&harness).await;
    let expected = (0..100).filter(|n| n % 2 == 0 || !H::REFUSES_TOPICS);
    assert_eq!(kept.len(), expected.count());
}

/// A refusal is an answer: it is never reported as unknown.
pub async fn a_refusal_is_never_unknown<H: Harness>() {
    let harness = refusing::<H>().await;
    let outcomes = publish(harness.publisher().as_ref(), &[nth(1)]).await;
    check::<H>(1, &outcomes[0]);
    let unknown = matches!(outcomes[0], Err(PublishError::Unknown(_)));
    assert!(!unknown, "{outcomes:?}");
    assert_eq!(ids(&harness).await.is_empty(), H::REFUSES_TOPICS);
}

/// A publisher works on after many refusals.
pub async fn a_publisher_outlives_refusals<H: Harness>() {
    let harness = refusing::<H>().await;
    for n in 0..40 {
        let outcomes = publish(harness.publisher().as_ref(), &[nth(n)]).await;
        check::<H>(n, &outcomes[0]);
    }
    let kept = ids(&harness).await;
    assert_eq!(kept.len(), if H::REFUSES_TOPICS { 20 } else { 40 });
}
