//! Concurrency: several calls on one publisher at the same time.

use std::sync::Arc;

use iobox_core::{message::Message, publisher::Publisher as _};

use super::{
    Harness, Stored,
    support::{batch_of, ids, labelled, payload, publish, publish_all},
};

/// Batches that are published at the same time all arrive, each message once.
pub async fn racing_batches_all_arrive<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let publisher = Arc::clone(harness.publisher());
            tokio::spawn(async move {
                for round in 0..5 {
                    let batch = batch_of(&format!("{n}-{round}"), 25);
                    publish_all(publisher.as_ref(), &batch).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a batch");
    }
    let mut kept = ids(harness.as_ref()).await;
    kept.sort();
    kept.dedup();
    assert_eq!(kept.len(), 16 * 5 * 25);
}

/// Outcomes belong to their own batch: one with messages that are refused does not disturb another
/// that runs at the same time.
pub async fn outcomes_belong_to_their_batch<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let large = H::PAYLOAD_REFUSED;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let publisher = Arc::clone(harness.publisher());
            tokio::spawn(async move {
                let mut batch: Vec<Message> = batch_of(&n.to_string(), 12);
                if let Some(size) = large {
                    batch.insert(n, payload(&format!("{n}-large"), vec![0; size]));
                }
                let outcomes = publish(publisher.as_ref(), &batch).await;
                for (at, outcome) in outcomes.iter().enumerate() {
                    let refused = large.is_some() && at == n;
                    assert_eq!(outcome.is_err(), refused, "{at} of batch {n}: {outcome:?}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a batch");
    }
    assert_eq!(ids(harness.as_ref()).await.len(), 8 * 12);
}

/// Probes and publishes do not disturb each other.
pub async fn probes_and_publishes_run_together<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let probing = Arc::clone(harness.publisher());
    let probes = tokio::spawn(async move {
        for _ in 0..20 {
            probing.probe().await.expect("a probe");
        }
    });
    for n in 0..20 {
        let batch = batch_of(&n.to_string(), 10);
        publish_all(harness.publisher().as_ref(), &batch).await;
    }
    probes.await.expect("probes");
    assert_eq!(ids(harness.as_ref()).await.len(), 200);
}

/// A crowd of publishers shares a place.
pub async fn a_crowd_of_publishers_shares_a_place<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let mut tasks = Vec::new();
    for n in 0..8 {
        let publisher = harness.another().await.expect("a publisher");
        let batch = batch_of(&n.to_string(), 50);
        tasks.push(tokio::spawn(async move {
            publish_all(publisher.as_ref(), &batch).await;
        }));
    }
    for task in tasks {
        task.await.expect("a publisher");
    }
    assert_eq!(ids(harness.as_ref()).await.len(), 8 * 50);
}

/// A large message does not mix with small ones that are published at the same time.
pub async fn a_large_message_does_not_mix_with_others<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    let publisher = Arc::clone(harness.publisher());
    let large = payload("large", vec![b'x'; H::PAYLOAD_MAX]);
    let sent = large.clone();
    let task = tokio::spawn(async move { publish_all(publisher.as_ref(), &[sent]).await });
    let small: Vec<Message> = (0..100).map(labelled).collect();
    publish_all(harness.publisher().as_ref(), &small).await;
    task.await.expect("the large message");
    let kept = harness.stored().await;
    assert_eq!(kept.len(), 101);
    for one in small.iter().chain([&large]) {
        assert!(kept.contains(&Stored::of(one)), "{one:?} is not whole");
    }
}
