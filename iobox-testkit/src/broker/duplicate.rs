//! Duplicates: what is published again is absorbed, or plainly kept again.

use iobox_core::{
    message::Message,
    publisher::{Publisher, Receipt},
};

use super::{
    Harness,
    support::{
        ORIGIN, TOPIC, assert_holds, batch_of, ids, labelled, labels, message, publish,
        publish_all, publish_one,
    },
};

/// What the second publish of a message is answered.
const fn receipt<H: Harness>() -> Receipt {
    if H::ABSORBS_DUPLICATES {
        Receipt::duplicate()
    } else {
        Receipt::new()
    }
}

async fn again<H: Harness>(publisher: &impl Publisher, batch: &[Message]) {
    for (n, outcome) in publish(publisher, batch).await.into_iter().enumerate() {
        assert_eq!(outcome, Ok(receipt::<H>()), "message {n}");
    }
}

/// A message that is published twice is kept once and its second receipt says so, or is kept twice.
pub async fn a_message_published_twice<H: Harness>() {
    let harness = H::fresh().await;
    let one = labelled("a");
    publish_all(harness.publisher().as_ref(), std::slice::from_ref(&one)).await;
    again::<H>(harness.publisher().as_ref(), std::slice::from_ref(&one)).await;
    let copies = if H::ABSORBS_DUPLICATES { 1 } else { 2 };
    assert_holds(&harness, &vec![one; copies]).await;
}

/// A batch of which a part was published before: the rest is taken as new.
pub async fn a_batch_published_in_part_before<H: Harness>() {
    let harness = H::fresh().await;
    let batch = batch_of("a", 20);
    publish_all(harness.publisher().as_ref(), &batch[..7]).await;
    let outcomes = publish(harness.publisher().as_ref(), &batch).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = if n < 7 {
            receipt::<H>()
        } else {
            Receipt::new()
        };
        assert_eq!(outcome, Ok(expected), "message {n}");
    }
    let kept = ids(&harness).await.len();
    assert_eq!(kept, if H::ABSORBS_DUPLICATES { 20 } else { 27 });
}

/// A message that another publisher published before.
pub async fn a_message_published_by_another_before<H: Harness>() {
    let harness = H::fresh().await;
    let other = harness.another().await.expect("a publisher");
    let batch = batch_of("a", 5);
    publish_all(harness.publisher().as_ref(), &batch).await;
    again::<H>(other.as_ref(), &batch).await;
    let kept = ids(&harness).await.len();
    assert_eq!(kept, if H::ABSORBS_DUPLICATES { 5 } else { 10 });
}

/// The id decides, not what the message holds: of two messages of one id the first is kept, or both
/// in their order.
pub async fn another_payload_under_a_known_id<H: Harness>() {
    let harness = H::fresh().await;
    let publisher = harness.publisher().as_ref();
    let of = |payload: &'static str| message(ORIGIN, "a", TOPIC, None, &[], payload);
    publish_all(publisher, &[of("first")]).await;
    let outcome = publish_one(publisher, &of("second")).await;
    assert_eq!(outcome, Ok(receipt::<H>()));
    let kept = labels(&harness).await;
    if H::ABSORBS_DUPLICATES {
        assert_eq!(kept, ["first"]);
    } else {
        assert_eq!(kept, ["first", "second"]);
    }
}

/// The first copies stand in the order of their publishes, however often they are repeated.
pub async fn repetitions_do_not_change_the_order<H: Harness>() {
    let harness = H::fresh().await;
    let publisher = harness.publisher().as_ref();
    let messages = ["a", "b", "c"].map(labelled);
    for one in &messages {
        publish_all(publisher, std::slice::from_ref(one)).await;
        again::<H>(publisher, &messages[..1]).await;
    }
    let mut first = ids(&harness).await;
    let mut seen = std::collections::HashSet::new();
    first.retain(|id| seen.insert(id.clone()));
    assert_eq!(first, ["a", "b", "c"]);
}
