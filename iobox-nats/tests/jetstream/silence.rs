//! Never a spin: a server is tried at most once a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use iobox_core::publisher::Publisher as _;
use iobox_nats::{Config, JetStreamPublisher};
use iobox_testkit::broker::support::{is_unavailable, labelled, publish_one};
use iobox_testkit::servers::Nats;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::support::{place::Place, rig::Rig, server};

/// How long each test looks.
const LOOK: Duration = Duration::from_secs(4);
/// One at once, then one a second, and one more for the edges.
const TRIES_MAX: u32 = 6;

/// Publishes and probes as fast as it can, for a while.
async fn hammer(publisher: Arc<JetStreamPublisher>) {
    let end = Instant::now() + LOOK;
    let probing = Arc::clone(&publisher);
    let probes = tokio::spawn(async move {
        while Instant::now() < end {
            let probed = tokio::time::timeout(LOOK, probing.probe()).await;
            assert!(!matches!(probed, Ok(Ok(_))), "nobody is there");
        }
    });
    let mut tries = 0_u32;
    while Instant::now() < end {
        let outcome = publish_one(publisher.as_ref(), &labelled(tries)).await;
        assert!(is_unavailable(&outcome), "{outcome:?}");
        tries += 1;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(
        tries > 20,
        "publishes do not wait for the next try: {tries}"
    );
    probes.await.expect("probes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_is_tried_once_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    let accepting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let config = Config::builder(url, "ORDERS").build();
    hammer(Arc::new(JetStreamPublisher::new(
        config.expect("a configuration"),
    )))
    .await;
    accepting.abort();
    let accepted = accepted.load(Ordering::Relaxed);
    assert!(
        (2..=TRIES_MAX).contains(&accepted),
        "{accepted} connections"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_for_a_try_that_failed_is_told_at_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    let accepting = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((line, _)) = listener.accept().await {
            silent.push(line);
        }
    });
    let config = Config::builder(url, "ORDERS").connect_timeout(Duration::from_millis(1_500));
    let publisher = JetStreamPublisher::new(config.build().expect("a configuration"));
    let one = async |number| {
        // As a relay does, whose patience is longer than a try.
        let message = labelled(number);
        tokio::time::timeout(Duration::from_secs(2), publish_one(&publisher, &message)).await
    };
    let (first, second, third) = tokio::join!(one(1), one(2), one(3));
    for outcome in [first, second, third] {
        let outcome = outcome.expect("an answer before the patience ends");
        assert!(is_unavailable(&outcome), "{outcome:?}");
    }
    accepting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_tried_once_a_second() {
    let server = server::private(Nats::builder().user("iobox", "right")).await;
    let config = Config::builder(server.url(), "ORDERS")
        .user("iobox", "wrong")
        .build();
    let publisher = Arc::new(JetStreamPublisher::new(config.expect("a configuration")));
    let end = Instant::now() + LOOK;
    let mut told = 0_u32;
    while Instant::now() < end {
        let error = publisher.probe().await.expect_err("the wrong password");
        assert_eq!(error.kind(), iobox_core::ErrorKind::Invalid);
        told += 1;
    }
    assert!((2..=TRIES_MAX).contains(&told), "{told} tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_asked_for_once_a_second() {
    let server = server::private(Nats::builder()).await;
    let place = Place::at(server.url()).await;
    let mut rig = Rig::start(place.config().build().expect("a configuration"));
    rig.enqueue(100).await;
    rig.wait_for(0).await;

    let client = async_nats::connect(server.url())
        .await
        .expect("a connection");
    let mut published = client
        .subscribe(format!("{}.>", place.name))
        .await
        .expect("a subscription");
    place
        .context
        .delete_stream(&place.name)
        .await
        .expect("a deletion");
    client.flush().await.expect("a flush");
    rig.enqueue(100).await;
    let connections = server_connections(&client).await;
    sleep(LOOK).await;
    let tried = server_connections(&client).await - connections;
    assert!(tried <= u64::from(TRIES_MAX), "{tried} connections");
    // Those that were on their way when the stream vanished, and then one at each look at most.
    let mut sent = 0;
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(50), published.next()).await
    {
        sent += 1;
    }
    assert!(sent <= 100 + TRIES_MAX, "{sent} publishes to nobody");
    assert_eq!(rig.open().await, 100, "no message is lost");
}

/// How many connections the server has seen, by the number that it gives each new one.
async fn server_connections(near: &async_nats::Client) -> u64 {
    let url = format!("nats://127.0.0.1:{}", near.server_info().port);
    let client = async_nats::connect(url).await.expect("a connection");
    client.server_info().client_id
}
