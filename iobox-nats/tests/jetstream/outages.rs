//! Outages: the server stopped, killed and cut off under a relay.

use std::time::Duration;

use iobox_core::dispatch::BreakerState;
use iobox_testkit::servers::{Cable, Nats};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, place::Place, rig::Rig, server, until};

/// Takes a server away while a relay works, several times; returns the copies in the stream.
async fn survive(mut take_away: impl FnMut(&mut Nats)) -> usize {
    let mut server = server::private(Nats::builder()).await;
    let place = Place::at(server.url()).await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    for _ in 0..3 {
        rig.enqueue(4_000).await;
        // In the middle of its work.
        rig.wait_for(3_000).await;
        take_away(&mut server);
        rig.enqueue(500).await;
        let mut health = rig.health.clone();
        let open = |report: &iobox_core::relay::HealthReport| report.breaker == BreakerState::Open;
        let opened = timeout(PATIENCE, health.wait_until(open)).await;
        assert_eq!(opened, Ok(true), "the breaker opens");
        server.start().expect("a start");
        rig.wait_for(0).await;
    }
    rig.finish(&place).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_and_started() {
    let copies = survive(|server| server.stop().expect("a stop")).await;
    assert_eq!(copies, 0, "the duplicate window absorbs what is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started() {
    let copies = survive(|server| server.kill().expect("a kill")).await;
    assert_eq!(copies, 0, "the duplicate window absorbs what is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_burns_no_attempts() {
    let mut server = server::private(Nats::builder()).await;
    let place = Place::at(server.url()).await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    rig.enqueue(100).await;
    rig.wait_for(0).await;
    server.stop().expect("a stop");
    rig.enqueue(1_000).await;
    // Longer than it takes to open the breaker and to probe a few times.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.open().await, 1_000);
    server.start().expect("a start");
    rig.wait_for(0).await;
    let entries = rig.entries().await;
    let harmed = entries.iter().filter(|entry| entry.attempt != 1);
    assert_eq!(harmed.count(), 0, "an outage is not the message's fault");
    assert_eq!(rig.finish(&place).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_cut_off_and_connected_late() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let cable = Cable::to(server::address(&server)).await.expect("a cable");
    let config = place.config_at(&format!("nats://{}", cable.address()));
    let mut rig = Rig::start(config.build().expect("a configuration"));
    rig.enqueue(4_000).await;
    rig.wait_for(3_000).await;
    cable.cut().await;
    // What had arrived at the server by then is still being stored.
    let (mut at_cut, mut looks) = (0, 0);
    until("the server stores nothing more", async || {
        let messages = place.info().await.state.messages;
        looks = if messages == at_cut { looks + 1 } else { 0 };
        at_cut = messages;
        looks >= 50
    })
    .await;
    rig.enqueue(1_000).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(place.info().await.state.messages, at_cut, "nothing passes");
    cable.mend();
    let mended = Instant::now();
    until("a message comes", async || {
        place.info().await.state.messages > at_cut
    })
    .await;
    println!(
        "a message came {:?} after the cable was mended",
        mended.elapsed()
    );
    assert_eq!(rig.finish(&place).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let cable = Cable::to(server::address(&server)).await.expect("a cable");
    let config = place
        .config_at(&format!("nats://{}", cable.address()))
        .ack_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_secs(1));
    let mut rig = Rig::start(config.build().expect("a configuration"));
    rig.enqueue(4_000).await;
    rig.wait_for(3_000).await;
    // Messages arrive, their acknowledgements do not.
    cable.mute();
    rig.enqueue(1_000).await;
    sleep(Duration::from_secs(3)).await;
    cable.mend();
    assert_eq!(rig.finish(&place).await, 0);
}
