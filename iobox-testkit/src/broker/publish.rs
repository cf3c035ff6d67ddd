//! Publishing: what is confirmed is there, whole and once.

use std::sync::Arc;

use super::{
    Harness,
    support::{
        Record, TOPIC, all_new, assert_holds, batch_of, labelled, message, other_origin, publish,
        publish_all, publish_one,
    },
};
use iobox_core::publisher::{Publisher as _, Receipt};

/// A message arrives with every one of its parts.
pub async fn a_message_arrives<H: Harness>() {
    let harness = H::fresh().await;
    let headers = [("content-type", "text/plain"), ("tenant", "blue")];
    let one = message(
        other_origin(),
        "id 1",
        "a.b-c",
        Some("key"),
        &headers,
        "text",
    );
    let outcome = publish_one(harness.publisher().as_ref(), &one).await;
    assert_eq!(outcome, Ok(Receipt::new()));
    assert_holds(&harness, &[one]).await;
}

/// A new place is empty.
pub async fn a_new_place_is_empty<H: Harness>() {
    let (harness, other) = (H::fresh().await, H::fresh().await);
    publish_all(harness.publisher().as_ref(), &batch_of("a", 3)).await;
    assert_holds(&other, &[]).await;
}

/// A batch arrives whole.
pub async fn a_batch_arrives_whole<H: Harness>() {
    let harness = H::fresh().await;
    let batch = batch_of("a", 100);
    publish_all(harness.publisher().as_ref(), &batch).await;
    assert_eq!(harness.stored().await.len(), batch.len());
    for one in harness.stored().await {
        assert!(batch.iter().any(|sent| super::Stored::of(sent) == one));
    }
}

/// A batch of two thousand messages arrives whole.
pub async fn a_large_batch_arrives_whole<H: Harness>() {
    let harness = H::fresh().await;
    let batch = batch_of("a", 2_000);
    publish_all(harness.publisher().as_ref(), &batch).await;
    let mut ids = super::support::ids(&harness).await;
    ids.sort();
    let mut sent: Vec<_> = batch.iter().map(|one| one.id().to_string()).collect();
    sent.sort();
    assert_eq!(ids, sent);
}

/// An empty batch does nothing, and leaves the publisher usable.
pub async fn an_empty_batch_does_nothing<H: Harness>() {
    let harness = H::fresh().await;
    assert_eq!(publish(harness.publisher().as_ref(), &[]).await, []);
    assert_holds(&harness, &[]).await;
    publish_all(harness.publisher().as_ref(), &[labelled("a")]).await;
    assert_holds(&harness, &[labelled("a")]).await;
}

/// When a publish returns, it has reported every message by itself.
pub async fn a_return_leaves_nothing_unreported<H: Harness>() {
    let harness = H::fresh().await;
    let batch = batch_of("a", 50);
    let (record, mut outcomes) = Record::new(batch.len());
    harness.publisher().publish(&batch, &mut outcomes).await;
    assert_eq!(outcomes.unreported(), 0);
    all_new(&record.all());
}

/// What is confirmed is kept from the moment on in which its outcome arrives.
pub async fn a_confirmed_message_is_kept<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let publisher = Arc::clone(harness.publisher());
    let batch = batch_of("a", 500);
    let (record, mut outcomes) = Record::new(batch.len());
    let sent = batch.clone();
    let publishing = tokio::spawn(async move { publisher.publish(&sent, &mut outcomes).await });
    for count in [1, 100, 500] {
        record.arrived(count).await;
        let confirmed = record.so_far();
        let kept = super::support::ids(harness.as_ref()).await;
        for (outcome, message) in confirmed.iter().zip(&batch) {
            let is_kept = kept.contains(&message.id().to_string());
            assert!(is_kept || outcome.is_none(), "{message:?} is not kept");
        }
    }
    publishing.await.expect("a publish");
}

/// Two publishers add to one place.
pub async fn two_publishers_add_to_one_place<H: Harness>() {
    let harness = H::fresh().await;
    let other = harness.another().await.expect("a publisher");
    let (one, two) = (labelled("one"), labelled("two"));
    publish_all(harness.publisher().as_ref(), std::slice::from_ref(&one)).await;
    publish_all(other.as_ref(), std::slice::from_ref(&two)).await;
    assert_holds(&harness, &[one, two]).await;
}

/// The same publisher serves several topics in one batch.
pub async fn a_batch_may_mix_topics<H: Harness>() {
    let harness = H::fresh().await;
    let batch: Vec<_> = ["orders.created", "orders.paid", "stock", TOPIC]
        .iter()
        .enumerate()
        .map(|(n, topic)| {
            let id = n.to_string();
            message(other_origin(), &id, topic, Some(&id), &[], id.clone())
        })
        .collect();
    // One after the other, since a batch promises no order.
    for one in &batch {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, &batch).await;
    let again = H::fresh().await;
    publish_all(again.publisher().as_ref(), &batch).await;
    let mut ids = super::support::ids(&again).await;
    ids.sort();
    assert_eq!(ids, ["0", "1", "2", "3"]);
}
