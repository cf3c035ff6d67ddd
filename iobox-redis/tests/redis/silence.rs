//! Silence: a server that takes requests and never replies.

use std::time::Duration;

use futures_util::future::join_all;
use iobox_core::{ErrorKind, publisher::Publisher as _};
use iobox_testkit::servers::{Cable, Redis};
use tokio::{net::TcpListener, time::timeout};

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

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_come_together_wait_for_one_try_and_are_not_sent() {
    // The system accepts for it, and nobody says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("redis://{}", silent.local_addr().expect("an address"));
    let publisher =
        made(iobox_redis::Config::builder(url).connect_timeout(Duration::from_millis(1_500)));
    let calls = ["a", "b", "c"].map(async |id| {
        let batch = [message("t", id)];
        timeout(Duration::from_secs(2), publish(&publisher, &batch)).await
    });
    for outcomes in join_all(calls).await {
        let outcome = outcomes
            .expect("an end within the time of one try")
            .remove(0);
        let says = "unavailable: not sent: unavailable: cannot connect to Redis: it takes too long";
        assert_eq!(outcome, says);
    }
}

#[tokio::test]
async fn a_probe_that_waits_for_its_try_holds_up_no_call() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("redis://{}", silent.local_addr().expect("an address"));
    let publisher =
        made(iobox_redis::Config::builder(url).connect_timeout(Duration::from_millis(300)));
    let batch = [message("t", "a")];
    let first = publish(&publisher, &batch).await;
    // The probe comes first, and waits until a second is over.
    let later = timeout(Duration::from_millis(700), publish(&publisher, &batch));
    let (probed, later) = tokio::join!(publisher.probe(), later);
    assert_eq!(later.expect("an end at once"), first);
    assert_eq!(probed.expect_err("silence").kind(), ErrorKind::Unavailable);
}
