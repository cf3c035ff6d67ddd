//! Refusals at run time: of one message, and by the server as a whole.

use iobox_core::{ErrorKind, message::Limits, publisher::Publisher as _};
use iobox_testkit::servers::Redis;

use crate::support::{Place, Relayed, message, publish, server, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_wrong_type_leaves_the_others_alone() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    place.ask(&format!("SET {}bad text", place.prefix)).await;
    let batch = [
        message("good", "1"),
        message("bad", "2"),
        message("good", "3"),
    ];
    let publisher = place.publisher();
    let outcomes = publish(&publisher, &batch).await;
    let says = "transient: WRONGTYPE: the key of this topic's stream holds something else: rename \
                that";
    assert_eq!(outcomes, ["", says, ""]);
    // A person renames it, and the message goes through.
    place.ask(&format!("DEL {}bad", place.prefix)).await;
    assert_eq!(publish(&publisher, &batch[1..2]).await, [""]);
    assert_eq!(place.ids().await, ["2", "1", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_memory_is_waited_for_and_loses_nothing() {
    const COUNT: usize = 2_000;
    let server = server(Redis::builder().setting("maxmemory-policy noeviction")).await;
    let place = Place::on(&server).await;
    let publisher = place.publisher();
    publisher.probe().await.expect("a probe");
    let mut relayed = Relayed::start(place.publisher());
    relayed.enqueue(COUNT / 2, 50).await;
    until("the first half is there", async || {
        relayed.open().await == 0
    })
    .await;
    place.ask("CONFIG SET maxmemory 1").await;
    relayed.enqueue(COUNT / 2, 50).await;
    until("the relay has noticed", async || {
        relayed.health.report().breaker == iobox_core::dispatch::BreakerState::Open
    })
    .await;
    let outcome = publish(&publisher, &[message("t", "a")]).await.remove(0);
    let says = "OOM: the server is at its maxmemory: raise it, or trim streams";
    assert_eq!(outcome, format!("unavailable: {says}"));
    let error = publisher.probe().await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(says), "{error}");
    place.ask("CONFIG SET maxmemory 0").await;
    assert!(relayed.end().await <= 1, "an outage burns no attempt");
    let copies = crate::support::complete_in_order(&place, COUNT, 50).await;
    assert_eq!(copies, 0, "what was refused was not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_beyond_the_bound_is_refused_before_it_is_sent() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let template = message("t", "a");
    let large = iobox_core::message::Message::new(
        template.origin(),
        template.id().clone(),
        template.topic().clone(),
        None,
        template.headers().clone(),
        vec![0; Limits::PAYLOAD_MAX + 1].into(),
    );
    let outcome = publish(&place.publisher(), &[large]).await.remove(0);
    let says = "permanent: payload has 1048577 bytes; at most 1048576 are published";
    assert_eq!(outcome, says);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_waited_for() {
    let server = server(Redis::builder().setting("min-replicas-to-write 1")).await;
    let place = Place::on(&server).await;
    let publisher = place.publisher();
    let outcome = publish(&publisher, &[message("t", "a")]).await.remove(0);
    let says = "NOREPLICAS: the server has too few replicas that keep up";
    assert_eq!(outcome, format!("unavailable: {says}"));
    let error = publisher.probe().await.expect_err("no replica");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    place.ask("CONFIG SET min-replicas-to-write 0").await;
    publisher.probe().await.expect("a probe");
    assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_a_replica_is_left() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let publisher = place.publisher();
    assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
    place.ask("REPLICAOF 127.0.0.1 1").await;
    let outcome = publish(&publisher, &[message("t", "b")]).await.remove(0);
    let says = "unavailable: READONLY: the server is a replica: point the URL at the primary";
    assert_eq!(outcome, says);
    let error = publisher.probe().await.expect_err("a replica");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    place.ask("REPLICAOF NO ONE").await;
    until("it is found again", async || {
        publisher.probe().await.is_ok()
    })
    .await;
    assert_eq!(publish(&publisher, &[message("t", "b")]).await, [""]);
    assert_eq!(place.ids().await, ["a", "b"]);
}
