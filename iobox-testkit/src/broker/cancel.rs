//! Cancelled calls: a publish that is dropped leaves its publisher usable.

use std::{sync::Arc, time::Duration};

use iobox_core::publisher::Publisher as _;
use tokio::time::timeout;

use super::{
    Harness, Stored,
    support::{Record, batch_of, labelled, publish_all},
};

/// How often each call is dropped, each time a little later.
const ROUNDS: u64 = 20;

/// Polls a call for a while that grows with the round, then drops it if it is not over.
async fn cut_off<F: Future>(round: u64, call: F) -> Option<F::Output> {
    let after = async {
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        // From the middle on the call gets as far as the broker.
        if let Some(late) = round.checked_sub(ROUNDS / 2) {
            let never = std::future::pending::<()>();
            let _ = timeout(Duration::from_millis(late), never).await;
        }
    };
    tokio::select! {
        biased;
        () = after => None,
        output = call => Some(output),
    }
}

/// A publish that is dropped leaves the publisher usable, and what it had reported is kept.
pub async fn a_dropped_publish_leaves_the_publisher_usable<H: Harness>() {
    let harness = H::fresh().await;
    let mut confirmed = Vec::new();
    for round in 0..ROUNDS {
        let batch = batch_of(&format!("dropped-{round}"), 200);
        let (record, mut outcomes) = Record::new(batch.len());
        cut_off(round, harness.publisher().publish(&batch, &mut outcomes)).await;
        drop(outcomes);
        let all = record.all().into_iter().zip(&batch);
        confirmed.extend(all.filter_map(|(outcome, one)| outcome.is_ok().then(|| one.clone())));
        let next = labelled(format!("next-{round}"));
        publish_all(harness.publisher().as_ref(), std::slice::from_ref(&next)).await;
        confirmed.push(next);
    }
    let kept = harness.stored().await;
    for one in &confirmed {
        assert!(kept.contains(&Stored::of(one)), "{one:?} is not kept");
    }
}

/// A publish that is dropped leaves no message half written, and none that was not in its batch.
pub async fn a_dropped_publish_leaves_whole_messages<H: Harness>() {
    let harness = H::fresh().await;
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        let batch = batch_of(&round.to_string(), 100);
        let (_, mut outcomes) = Record::new(batch.len());
        cut_off(round, harness.publisher().publish(&batch, &mut outcomes)).await;
        sent.extend(batch.iter().map(Stored::of));
    }
    // Behind everything that is still on its way.
    publish_all(harness.publisher().as_ref(), &[labelled("end")]).await;
    for one in harness.stored().await {
        assert!(one.id == "end" || sent.contains(&one), "{one:?}");
    }
}

/// Dropping one of two publishes leaves the other alone.
pub async fn a_dropped_publish_leaves_another_alone<H: Harness>() {
    let harness = Arc::new(H::fresh().await);
    for round in 0..ROUNDS {
        let publisher = Arc::clone(harness.publisher());
        let batch = batch_of(&format!("kept-{round}"), 50);
        let other = tokio::spawn(async move { publish_all(publisher.as_ref(), &batch).await });
        let batch = batch_of(&format!("dropped-{round}"), 50);
        let (_, mut outcomes) = Record::new(batch.len());
        cut_off(round, harness.publisher().publish(&batch, &mut outcomes)).await;
        other.await.expect("the other publish");
    }
}

/// A probe that is dropped leaves the publisher usable.
pub async fn a_dropped_probe_leaves_the_publisher_usable<H: Harness>() {
    let harness = H::fresh().await;
    for round in 0..ROUNDS {
        cut_off(round, harness.publisher().probe()).await;
        let one = labelled(round);
        publish_all(harness.publisher().as_ref(), &[one]).await;
    }
    harness.publisher().probe().await.expect("a probe");
    assert_eq!(harness.stored().await.len() as u64, ROUNDS);
}
