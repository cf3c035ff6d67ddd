//! What is refused at start, by which kind and with which advice.

use std::time::Duration;

use async_nats::jetstream::stream::StorageType;
use iobox_core::{
    Error, ErrorKind, Relay,
    memory::MemoryStore,
    partition::Partitions,
    publisher::{Durability, Publisher as _},
};
use iobox_nats::{Config, ConfigBuilder, JetStreamPublisher, StreamSettings};
use iobox_testkit::servers::Nats;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::support::{place::Place, server};

fn publisher(config: ConfigBuilder) -> JetStreamPublisher {
    JetStreamPublisher::new(config.build().expect("a configuration"))
}

/// Runs a relay until it refuses to start.
async fn refused(config: ConfigBuilder) -> Error {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let relay = Relay::builder(store, publisher(config)).build();
    let run = relay.expect("a relay").run(std::future::pending());
    let error = tokio::time::timeout(crate::support::PATIENCE, run).await;
    let error = error.expect("a relay that ends").expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error
}

fn says(error: &Error, expected: &str) {
    let text = error.to_string();
    assert!(text.contains(expected), "{expected:?} is not in {text:?}");
}

#[test]
fn a_url_without_a_host_or_with_an_unknown_scheme() {
    for (url, expected) in [
        (
            "nats:///orders",
            "entry 0 has no host; write it like nats://host:4222",
        ),
        (
            "redis://localhost",
            "entry 0 has an unknown scheme; use nats:// or tls://",
        ),
        (
            "localhost",
            "entry 0 is no URL; write it like nats://host:4222",
        ),
    ] {
        let error = Config::builder(url, "ORDERS").build().expect_err(url);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        says(&error, expected);
    }
}

#[tokio::test]
async fn a_stream_that_does_not_exist() {
    let server = server::shared().await;
    let place = Place::without_stream(server.url()).await;
    let error = refused(place.config()).await;
    says(&error, &format!("stream {} does not exist", place.name));
    says(
        &error,
        "make it, or let the configuration make it by create_stream",
    );
}

#[tokio::test]
async fn a_stream_that_does_not_take_the_subjects() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.subjects = vec![format!("{}.orders.>", stream.name)];
    })
    .await;
    let error = refused(place.config()).await;
    let name = &place.name;
    says(
        &error,
        &format!("stream {name} does not take {name}.>: its subjects are {name}.orders.>; add it"),
    );
    let narrow = publisher(place.config().topics(["orders.>"]));
    narrow.probe().await.expect("these topics are taken");
}

#[tokio::test]
async fn a_stream_that_forgets_ids_too_early() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.duplicate_window = Duration::from_secs(10);
    })
    .await;
    let error = refused(place.config()).await;
    says(&error, "knows a message again for 10s only");
    says(
        &error,
        "raise its duplicate_window to the redelivery_horizon of 90s",
    );
    let patient = publisher(place.config().redelivery_horizon(Duration::from_secs(10)));
    patient.probe().await.expect("a shorter horizon");
}

#[tokio::test]
async fn a_stream_in_memory() {
    let server = server::shared().await;
    let place = Place::with(server.url(), |stream| {
        stream.storage = StorageType::Memory;
    })
    .await;
    let error = refused(place.config()).await;
    says(&error, "is kept in memory");
    says(
        &error,
        "make it with file storage, or set durability_min to Volatile",
    );
    let bold = publisher(place.config().durability_min(Durability::Volatile));
    assert_eq!(bold.probe().await.expect("a probe"), Durability::Volatile);
}

#[tokio::test]
async fn a_stream_with_too_few_replicas() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let error = refused(place.config().durability_min(Durability::Replicated)).await;
    says(&error, "has 1 replica: raise its replicas");
}

#[tokio::test]
async fn a_stream_that_is_sealed() {
    let server = server::shared().await;
    let place = Place::at(server.url()).await;
    let mut config = place.info().await.config;
    config.sealed = true;
    place.context.update_stream(config).await.expect("a seal");
    let error = refused(place.config()).await;
    says(&error, "is sealed and takes no messages any more");
}

#[tokio::test]
async fn credentials_that_the_server_refuses() {
    let server = server::private(Nats::builder().user("iobox", "c@nary:/")).await;
    let at = |url: &str| Config::builder(url, "ORDERS");
    for config in [
        at(server.url()),
        at(server.url()).user("iobox", "canary"),
        at(server.url()).token("canary"),
        at(&server.url().replace("//", "//iobox:canary@")),
    ] {
        let error = refused(config).await;
        says(&error, "the server refuses the credentials");
        assert!(!format!("{error:?}").contains("nary"), "{error:?}");
    }
    // The right ones, in the URL and apart from it.
    for config in [
        at(&server.url().replace("//", "//iobox:c%40nary%3A%2F@")),
        at(server.url()).user("iobox", "c@nary:/"),
    ] {
        let error = refused(config).await;
        says(&error, "does not exist");
    }
}

#[tokio::test]
async fn a_server_without_jetstream() {
    let server = server::private(Nats::builder().without_jetstream()).await;
    let error = refused(Config::builder(server.url(), "ORDERS")).await;
    says(
        &error,
        "start the server with -js, or enable JetStream for the account",
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let mut server = server::private(Nats::builder()).await;
    server.stop().expect("a stop");
    let publisher = publisher(Config::builder(server.url(), "ORDERS"));
    let error = publisher.probe().await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    says(&error, "cannot be reached");
}

/// What a server says first that wants TLS, and then nothing.
const WANTS_TLS: &[u8] =
    b"INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576,\
    \"headers\":true,\"jetstream\":true,\"tls_required\":true}\r\n";

#[tokio::test]
async fn a_server_that_wants_tls_makes_no_panic() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    let greeting = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.write_all(WANTS_TLS).await.expect("a greeting");
        }
    });
    let publisher = publisher(Config::builder(url, "ORDERS"));
    // Each time, so that the first try has harmed nothing.
    for _ in 0..2 {
        let error = publisher.probe().await.expect_err("no TLS");
        if cfg!(not(feature = "tls")) && error.kind() == ErrorKind::Invalid {
            says(&error, "without the feature tls: switch that on");
        }
    }
    greeting.abort();
}

#[tokio::test]
async fn a_stream_is_made_on_demand_and_never_changed() {
    let server = server::shared().await;
    let place = Place::without_stream(server.url()).await;
    let settings = StreamSettings::new().max_age(Duration::from_secs(3_600));
    let first = publisher(place.config().create_stream(settings));
    assert_eq!(first.probe().await.expect("a probe"), Durability::PageCache);
    let made = place.info().await.config;
    assert_eq!(made.subjects, [format!("{}.>", place.name)]);
    assert_eq!(made.max_age, Duration::from_secs(3_600));
    assert_eq!(made.duplicate_window, Duration::from_secs(120));

    let second = publisher(place.config().create_stream(StreamSettings::new()));
    second.probe().await.expect("a probe");
    assert_eq!(place.info().await.config, made);
}
