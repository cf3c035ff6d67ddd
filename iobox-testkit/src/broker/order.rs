//! Order: what was confirmed before stands before.

use std::sync::Arc;

use iobox_core::message::Message;

use super::{
    Harness,
    support::{ORIGIN, assert_holds, ids, keyed, message, publish_all},
};

/// Successive publishes of one key keep their order.
pub async fn successive_publishes_keep_their_order<H: Harness>() {
    let harness = H::fresh().await;
    let messages: Vec<Message> = (0..100).map(|n| keyed("k", n)).collect();
    for one in &messages {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, &messages).await;
}

/// Successive batches keep the order of each key, though messages of one batch may stand in any.
pub async fn successive_batches_keep_the_order_of_a_key<H: Harness>() {
    const KEYS: usize = 10;
    const ROUNDS: usize = 30;
    let harness = H::fresh().await;
    for round in 0..ROUNDS {
        let batch: Vec<Message> = (0..KEYS)
            .map(|key| keyed(&key.to_string(), format!("{key}/{round:03}")))
            .collect();
        publish_all(harness.publisher().as_ref(), &batch).await;
    }
    assert_in_order(&ids(&harness).await, KEYS, ROUNDS);
}

/// The publishers of one place keep the order of what they confirm in turn.
pub async fn publishers_in_turn_keep_the_order<H: Harness>() {
    let harness = H::fresh().await;
    let other = harness.another().await.expect("a publisher");
    let messages: Vec<Message> = (0..40).map(|n| keyed("k", n)).collect();
    for (n, one) in messages.iter().enumerate() {
        let publisher = if n % 2 == 0 {
            harness.publisher()
        } else {
            &other
        };
        publish_all(publisher.as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, &messages).await;
}

/// Each topic keeps its order while others are written.
pub async fn each_topic_keeps_its_order<H: Harness>() {
    let harness = H::fresh().await;
    let topics = ["orders", "stock", "invoices.sent"];
    let messages: Vec<Message> = (0..60)
        .map(|n| message(ORIGIN, &n.to_string(), topics[n % 3], Some("k"), &[], ""))
        .collect();
    for one in &messages {
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(one)).await;
    }
    assert_holds(&harness, &messages).await;
}

/// Racing publishers keep the order of their own keys.
pub async fn racing_publishers_keep_their_own_order<H: Harness>() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 40;
    let harness = Arc::new(H::fresh().await);
    let writers: Vec<_> = (0..WRITERS)
        .map(|key| {
            let publisher = Arc::clone(harness.publisher());
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let one = keyed(&key.to_string(), format!("{key}/{round:03}"));
                    publish_all(publisher.as_ref(), &[one]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_in_order(&ids(harness.as_ref()).await, WRITERS, ROUNDS);
}

/// Checks ids `<key>/<round>`: of each key every round, in order.
fn assert_in_order(ids: &[String], keys: usize, rounds: usize) {
    assert_eq!(ids.len(), keys * rounds);
    for key in 0..keys {
        let of_key = ids.iter().filter_map(|id| id.split_once('/'));
        let of_key: Vec<&str> = of_key
            .filter(|(owner, _)| *owner == key.to_string())
            .map(|(_, round)| round)
            .collect();
        let expected: Vec<String> = (0..rounds).map(|round| format!("{round:03}")).collect();
        assert_eq!(of_key, expected, "key {key}");
    }
}
