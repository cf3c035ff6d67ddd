//! Streams that change under a relay: deleted, full, narrowed.

use std::time::Duration;

use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use tokio::time::sleep;

use crate::support::{place::Place, rig::Rig, server, until};

fn config_of(place: &Place) -> StreamConfig {
    StreamConfig {
        name: place.name.clone(),
        subjects: vec![format!("{}.>", place.name)],
        ..StreamConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_and_made_again() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    rig.enqueue(400).await;
    rig.wait_for(0).await;
    place
        .context
        .delete_stream(&place.name)
        .await
        .expect("a deletion");

    rig.enqueue(400).await;
    sleep(Duration::from_secs(3)).await;
    let stats = rig.stats().await;
    assert_eq!(
        (rig.open().await, stats.dead),
        (400, 0),
        "nothing is lost, nothing dead"
    );
    place.make(config_of(&place)).await;
    rig.wait_for(0).await;
    // What the deletion took along is gone; what was enqueued since is there, each once.
    let stored = place.stored().await;
    assert_eq!(stored.len(), 400);
    let numbers = stored
        .iter()
        .map(|one| String::from_utf8_lossy(&one.payload).into_owned());
    assert!(
        numbers
            .map(|text| text.parse::<u32>().expect("a number"))
            .all(|n| n >= 20)
    );
    let harmed = rig
        .entries()
        .await
        .iter()
        .filter(|entry| entry.attempt != 1)
        .count();
    assert_eq!(
        harmed, 0,
        "a stream that is gone is not the message's fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_limit_rejects() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.max_messages = 1_000;
        stream.discard = DiscardPolicy::New;
    })
    .await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    rig.enqueue(3_000).await;
    until("the stream is full", async || rig.open().await == 2_000).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!((rig.open().await, rig.stats().await.dead), (2_000, 0));
    let mut config = place.info().await.config;
    config.max_messages = -1;
    place
        .context
        .update_stream(config)
        .await
        .expect("an update");
    assert_eq!(rig.finish(&place).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_taken_away_and_given_back() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    rig.enqueue(100).await;
    rig.wait_for(0).await;
    let mut narrow = place.info().await.config;
    narrow.subjects = vec![format!("{}.stock", place.name)];
    let update = place.context.update_stream(narrow.clone()).await;
    update.expect("an update");
    rig.enqueue(100).await;
    until("a reason is told", async || {
        let entries = rig.entries().await;
        let mut reasons = entries.iter().filter_map(|entry| entry.reason.as_deref());
        reasons.any(|reason| reason.contains("add it to the stream's subjects"))
    })
    .await;
    // Another topic goes on.
    let before = place.info().await.state.messages;
    rig.enqueue_other("stock", 10).await;
    until("another topic goes on", async || {
        place.info().await.state.messages == before + 10
    })
    .await;
    narrow.subjects = vec![format!("{}.>", place.name)];
    place
        .context
        .update_stream(narrow)
        .await
        .expect("an update");
    rig.wait_for(0).await;
    assert_eq!(place.info().await.state.messages, 210);
}
