//! Outages: a server that is stopped, killed and started again under load, and one that is away for
//! long.

use iobox_core::dispatch::BreakerState;
use iobox_testkit::servers::{Cable, Redis};

use crate::support::{
    BATCH, IN_FLIGHT, Place, Reader, Relayed, address, complete_in_order, made, server, until,
};

const KEYS: usize = 100;
const ROUNDS: usize = 3;
const EACH: usize = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

/// Ends and starts the server while messages are under way; nothing may be lost or reordered.
async fn survives(end: End) {
    // Synced each time, since a server that syncs every second may hold back what it confirmed
    // while its disk is slow.
    let server_of = Redis::builder().setting("appendfsync always");
    let mut server = server(server_of).await;
    let mut place = Place::on(&server).await;
    let mut relayed = Relayed::start(place.publisher());
    for round in 0..ROUNDS {
        let before = place.ids().await.len();
        relayed.enqueue(EACH, KEYS).await;
        until("the server is busy", async || {
            place.ids().await.len() > before
        })
        .await;
        assert!(relayed.open().await > 0, "round {round} ends under load");
        server = tokio::task::spawn_blocking(move || {
            match end {
                End::Stop => server.stop().expect("a stop"),
                End::Kill => server.kill().expect("a kill"),
            }
            server.start().expect("a start");
            server
        })
        .await
        .expect("no panic");
        place.reader = Reader::open(server.url()).await.expect("a reader");
    }
    relayed.end().await;
    let copies = complete_in_order(&place, ROUNDS * EACH, KEYS).await;
    assert!(copies <= ROUNDS * (IN_FLIGHT + BATCH), "{copies} copies");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_under_load_loses_nothing() {
    survives(End::Stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing() {
    survives(End::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_cut_off_connects_late_and_tries_at_most_once_a_second() {
    let server = server(Redis::builder()).await;
    let cable = Cable::to(address(server.url())).await.expect("a cable");
    let place = Place::on(&server).await;
    let url = format!("redis://{}", cable.address());
    let config = iobox_redis::Config::builder(url).prefix(&place.prefix);
    let mut relayed = Relayed::start(made(config));
    relayed.enqueue(500, KEYS).await;
    until("all is published", async || relayed.open().await == 0).await;
    cable.cut().await;
    let (start, before) = (std::time::Instant::now(), cable.connections());
    relayed.enqueue(500, KEYS).await;
    until("the relay has noticed", async || {
        relayed.health.report().breaker == BreakerState::Open
    })
    .await;
    until("it has tried for a while", async || {
        cable.connections() > before + 2
    })
    .await;
    let tried = cable.connections() - before;
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short test") + 2;
    assert!(tried <= seconds, "{tried} tries in {seconds} s");
    assert_eq!(relayed.open().await, 500);
    cable.mend();
    assert!(relayed.end().await <= 2);
    let copies = complete_in_order(&place, 1_000, KEYS).await;
    assert!(copies <= IN_FLIGHT + BATCH, "{copies} copies");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_starts_before_its_server_waits_for_it() {
    let mut server = server(Redis::builder()).await;
    let mut place = Place::on(&server).await;
    server = tokio::task::spawn_blocking(move || {
        server.stop().expect("a stop");
        server
    })
    .await
    .expect("no panic");
    let mut relayed = Relayed::start(place.publisher());
    relayed.enqueue(100, 10).await;
    until("the relay has noticed", async || {
        relayed.health.report().breaker == BreakerState::Open
    })
    .await;
    let server = tokio::task::spawn_blocking(move || {
        server.start().expect("a start");
        server
    })
    .await
    .expect("no panic");
    assert!(relayed.end().await <= 1, "an outage burns no attempt");
    place.reader = Reader::open(server.url()).await.expect("a reader");
    assert_eq!(complete_in_order(&place, 100, 10).await, 0);
}
