//! Silence: a server that takes requests and never replies.

use std::time::Duration;

use iobox_core::{ErrorKind, publisher::Publisher as _};
use iobox_testkit::servers::{Cable, Redis};

use crate::support::{Place, address, made, message, publish, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_makes_outcomes_unknown_and_is_connected_anew() {
    let server = tokio::task::spawn_blocking(Redis::shared)
        .await
        .expect("no panic")
        .expect("a Redis");
    let place = Place::on(&server).await;
    let cable = Cable::to(address(server.url())).await.expect("a cable");
    let url = format!("redis://{}", cable.address());
    let publisher = made(
        iobox_redis::Config::builder(url)
            .prefix(&place.prefix)
            .connect_timeout(Duration::from_millis(300))
            .response_timeout(Duration::from_millis(300)),
    );
    assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
    cable.mute();
    let batch = [message("t", "b"), message("t", "c")];
    for outcome in publish(&publisher, &batch).await {
        assert_eq!(outcome, "unknown: Redis sent no reply for 300ms");
    }
    until("a try to connect takes too long", async || {
        let error = publisher.probe().await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        error.to_string().contains("it takes too long")
    })
    .await;
    cable.mend();
    until("the server is found again", async || {
        publisher.probe().await.is_ok()
    })
    .await;
    assert_eq!(publish(&publisher, &[message("t", "d")]).await, [""]);
    // What was unknown had arrived.
    assert_eq!(place.ids().await, ["a", "b", "c", "d"]);
}
