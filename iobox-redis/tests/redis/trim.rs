//! Trimming: never, unless it is asked for.

use iobox_core::message::Message;
use iobox_testkit::servers::Redis;

use crate::support::{Place, made, message, publish};

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_trimmed_only_by_option() {
    let server = tokio::task::spawn_blocking(Redis::shared)
        .await
        .expect("no panic")
        .expect("a Redis");
    let place = Place::on(&server).await;
    let batch: Vec<Message> = (0..3_000).map(|n| message("t", &n.to_string())).collect();
    publish(&place.publisher(), &batch).await;
    assert_eq!(place.ids().await.len(), 3_000);
    // Redis cuts whole nodes of a hundred entries, so that a few more than asked for may stay.
    publish(&made(place.config().trim_to(1_000)), &batch).await;
    let left = place.ids().await;
    assert!(
        (1_000..=1_200).contains(&left.len()),
        "{} are left",
        left.len()
    );
}
