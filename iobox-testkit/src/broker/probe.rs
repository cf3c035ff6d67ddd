//! Probes: whether the broker can take messages, and what its word is worth.

use std::sync::Arc;

use iobox_core::publisher::Publisher as _;

use super::{
    Harness,
    support::{assert_holds, labelled, publish_all},
};

/// A probe tells how durable a confirmed message is, each time.
pub async fn a_probe_tells_the_durability<H: Harness>() {
    let harness = H::fresh().await;
    for _ in 0..3 {
        let told = harness.publisher().probe().await.expect("a probe");
        assert_eq!(told, H::DURABILITY);
    }
}

/// A probe writes nothing.
pub async fn a_probe_writes_nothing<H: Harness>() {
    let harness = H::fresh().await;
    harness.publisher().probe().await.expect("a probe");
    assert_holds(&harness, &[]).await;
    publish_all(harness.publisher().as_ref(), &[labelled("a")]).await;
    harness.publisher().probe().await.expect("a probe");
    assert_holds(&harness, &[labelled("a")]).await;
}

/// A publisher needs no probe before it publishes.
pub async fn a_publish_needs_no_probe<H: Harness>() {
    let harness = H::fresh().await;
    publish_all(harness.publisher().as_ref(), &[labelled("a")]).await;
    assert_holds(&harness, &[labelled("a")]).await;
}

/// Probes that run at the same time agree.
pub async fn racing_probes_agree<H: Harness>() {
    let harness = H::fresh().await;
    let probes: Vec<_> = (0..8)
        .map(|_| {
            let publisher = Arc::clone(harness.publisher());
            tokio::spawn(async move { publisher.probe().await })
        })
        .collect();
    for probe in probes {
        let told = probe.await.expect("a task").expect("a probe");
        assert_eq!(told, H::DURABILITY);
    }
}

/// `Debug` of a publisher is no way to its messages: it shows neither keys nor payloads.
pub async fn a_publisher_shows_no_messages<H: Harness>() {
    let harness = H::fresh().await;
    let one = super::support::keyed("canary-key", "canary-payload");
    publish_all(harness.publisher().as_ref(), &[one]).await;
    let text = format!("{:?}", harness.publisher());
    assert!(!text.contains("canary"), "{text}");
}
