//! Outages: a line that is mute, cut and mended.
//!
//! Where a line cannot be cut, the broker is always there: the cases check that every publish is
//! answered.

use std::{collections::BTreeSet, sync::Arc};

use iobox_core::{
    ErrorKind,
    publisher::{Publisher as _, Receipt},
};
use tokio::time::{sleep, timeout};

use super::{
    Harness,
    support::{
        LOOK, PATIENCE, Record, batch_of, ids, is_unavailable, is_unknown, labelled, mended,
        payload, publish, publish_all, publish_one, until_unavailable,
    },
};

/// A broker whose line cannot be cut, or `None`.
async fn uncuttable<H: Harness>() -> Option<H> {
    if H::CAN_BE_CUT {
        return None;
    }
    let harness = H::fresh().await;
    let batch = batch_of("always", 10);
    publish_all(harness.publisher().as_ref(), &batch).await;
    assert_eq!(ids(&harness).await.len(), 10);
    Some(harness)
}

/// Waits until the place holds `count` messages.
async fn holds<H: Harness>(harness: &H, count: usize) {
    let there = timeout(PATIENCE, async {
        while harness.stored().await.len() < count {
            sleep(LOOK).await;
        }
    });
    assert!(
        there.await.is_ok(),
        "the broker does not get {count} messages"
    );
}

/// Without a connection messages are unavailable, and none of them is ever sent.
pub async fn without_a_connection_nothing_is_sent<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("before")]).await;
    harness.cut().await;
    let (unknown, mut refused) = until_unavailable(harness.publisher().as_ref(), "lost").await;
    for round in 0..10 {
        let batch = batch_of(&round.to_string(), 20);
        let outcomes = publish(harness.publisher().as_ref(), &batch).await;
        assert!(outcomes.iter().all(is_unavailable), "{outcomes:?}");
        refused.extend(batch.iter().map(|one| one.id().to_string()));
    }
    let publisher = mended(&harness).await;
    publish_all(publisher.as_ref(), &[labelled("after")]).await;
    for id in ids(&harness).await {
        assert!(!refused.contains(&id), "{id} was never to be sent");
        assert!(id == "before" || id == "after" || unknown.contains(&id));
    }
}

/// A message whose reply is lost is unknown: it is there, and nobody was told.
pub async fn a_lost_reply_is_unknown<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("before")]).await;
    harness.mute().await;
    let publisher = Arc::clone(harness.publisher());
    let batch = batch_of("lost", 10);
    let sent = batch.clone();
    let publishing = tokio::spawn(async move { publish(publisher.as_ref(), &sent).await });
    holds(&harness, 1 + batch.len()).await;
    let probed = timeout(PATIENCE, harness.publisher().probe()).await;
    let error = probed.expect("probe returns").expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    harness.cut().await;
    let outcomes = publishing.await.expect("a publish");
    assert!(outcomes.iter().all(is_unknown), "{outcomes:?}");
    mended(&harness).await;
}

/// A message that was unknown can be published again: it is absorbed as a duplicate, or kept twice.
pub async fn an_unknown_message_can_be_repeated<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("before")]).await;
    harness.mute().await;
    let publisher = Arc::clone(harness.publisher());
    let publishing =
        tokio::spawn(async move { publish_one(publisher.as_ref(), &labelled("a")).await });
    holds(&harness, 2).await;
    harness.cut().await;
    assert!(is_unknown(&publishing.await.expect("a publish")));
    let publisher = mended(&harness).await;
    let outcome = publish_one(publisher.as_ref(), &labelled("a")).await;
    let kept = ids(&harness).await;
    if H::ABSORBS_DUPLICATES {
        assert_eq!(outcome, Ok(Receipt::duplicate()));
        assert_eq!(kept, ["before", "a"]);
    } else {
        assert_eq!(outcome, Ok(Receipt::new()));
        assert_eq!(kept, ["before", "a", "a"]);
    }
}

/// What a publisher knows by itself it reports while the rest of the batch waits for the broker.
pub async fn outcomes_do_not_wait_for_each_other<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let Some(size) = H::PAYLOAD_REFUSED else {
        return;
    };
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("before")]).await;
    harness.mute().await;
    let batch = [
        labelled("a"),
        payload("large", vec![0; size]),
        labelled("b"),
    ];
    let (record, mut outcomes) = Record::new(batch.len());
    let publisher = Arc::clone(harness.publisher());
    let publishing = tokio::spawn(async move { publisher.publish(&batch, &mut outcomes).await });
    holds(&harness, 3).await;
    record.arrived(1).await;
    assert!(matches!(record.so_far()[1], Some(Err(_))));
    harness.cut().await;
    publishing.await.expect("a publish");
    mended(&harness).await;
}

/// A connection that is cut in the middle of a batch: what is confirmed is kept, what is unavailable
/// is not, and what is neither is unknown.
pub async fn a_cut_in_the_middle_of_a_batch_is_told_as_it_is<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    for round in 0..5 {
        let publisher = Arc::clone(harness.publisher());
        let batch = batch_of(&round.to_string(), 1_000);
        let sent = batch.clone();
        let (record, mut outcomes) = Record::new(batch.len());
        let publishing = tokio::spawn(async move { publisher.publish(&sent, &mut outcomes).await });
        if round > 0 {
            record.arrived(round).await;
        }
        harness.cut().await;
        publishing.await.expect("a publish");
        mended(&harness).await;
        let kept: BTreeSet<String> = ids(&harness).await.into_iter().collect();
        for (outcome, one) in record.all().iter().zip(&batch) {
            let is_kept = kept.contains(one.id().as_str());
            assert!(is_kept || outcome.is_err(), "{one:?} is confirmed and lost");
            let is_refused = is_unavailable(outcome);
            assert!(!is_kept || !is_refused, "{one:?} is not to be sent");
            let is_told = outcome.is_ok() || is_refused || is_unknown(outcome);
            assert!(is_told, "an outage refuses no message: {outcome:?}");
        }
    }
}

/// A publisher outlives a cut that happened while it had nothing to do.
pub async fn a_cut_of_an_idle_connection_is_survived<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("a")]).await;
    harness.cut().await;
    let publisher = mended(&harness).await;
    publish_all(publisher.as_ref(), &[labelled("b")]).await;
    assert_eq!(ids(&harness).await, ["a", "b"]);
}

/// A publisher outlives one outage after another.
pub async fn one_outage_after_another_is_survived<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    for round in 0..5 {
        harness.cut().await;
        until_unavailable(harness.publisher().as_ref(), &format!("lost-{round}")).await;
        let publisher = mended(&harness).await;
        publish_all(publisher.as_ref(), &[labelled(round)]).await;
    }
    let kept = ids(&harness).await;
    for round in 0..5 {
        assert_eq!(
            kept.iter().filter(|id| **id == round.to_string()).count(),
            1
        );
    }
}

/// A publish recovers by itself once the broker is back, without a probe.
pub async fn a_publish_recovers_by_itself<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    harness.cut().await;
    until_unavailable(harness.publisher().as_ref(), "lost").await;
    harness.mend().await;
    let recovered = timeout(PATIENCE, async {
        let publisher = harness.publisher().as_ref();
        while publish_one(publisher, &labelled("a")).await.is_err() {
            sleep(LOOK).await;
        }
    });
    assert!(recovered.await.is_ok(), "the publisher does not come back");
    assert!(ids(&harness).await.contains(&"a".to_owned()));
}

/// A broker that falls silent holds up nobody for ever: the publish can be dropped, and the
/// publisher works once the line is mended.
pub async fn a_silent_broker_is_survived<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("before")]).await;
    harness.mute().await;
    let (record, mut outcomes) = Record::new(1);
    let sent = [labelled("silent")];
    tokio::select! {
        () = harness.publisher().publish(&sent, &mut outcomes) => {}
        () = holds(&harness, 2) => {}
    }
    drop(outcomes);
    assert!(is_unknown(&record.all()[0]), "{record:?}");
    let publisher = mended(&harness).await;
    publish_all(publisher.as_ref(), &[labelled("after")]).await;
}

/// A probe of a broker that cannot be reached is unavailable, and a later one finds it again.
pub async fn a_probe_of_an_unreachable_broker_is_unavailable<H: Harness>() {
    if let Some(harness) = uncuttable::<H>().await {
        harness.publisher().probe().await.expect("a probe");
        return;
    }
    let harness = H::fresh().await;
    harness.publisher().probe().await.expect("a probe");
    harness.cut().await;
    let refused = timeout(PATIENCE, async {
        loop {
            match harness.publisher().probe().await {
                // A publisher may take a moment until it notices.
                Ok(_) => sleep(LOOK).await,
                Err(error) => return error,
            }
        }
    });
    let error = refused.await.expect("the lost connection is noticed");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let publisher = mended(&harness).await;
    assert_eq!(publisher.probe().await.expect("a probe"), H::DURABILITY);
}

/// A publisher that starts while the broker is away finds it when it comes.
pub async fn a_publisher_may_start_first<H: Harness>() {
    if uncuttable::<H>().await.is_some() {
        return;
    }
    let harness = H::fresh().await;
    harness.cut().await;
    let early = match harness.another().await {
        Ok(early) => early,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            harness.mend().await;
            harness.another().await.expect("a publisher")
        }
    };
    harness.mend().await;
    let found = timeout(PATIENCE, async {
        while early.probe().await.is_err() {
            sleep(LOOK).await;
        }
    });
    assert!(found.await.is_ok(), "the broker is not found");
    publish_all(early.as_ref(), &[labelled("a")]).await;
    assert_eq!(ids(&harness).await, ["a"]);
}
