//! The brokers: logging in, with right and wrong secrets; publishing; what is refused; an outage.

use std::{sync::Arc, time::Duration};

use iobox::{
    Relay,
    inbox::SourceName,
    memory::MemoryStore,
    message::Limits,
    nats::{self, JetStreamPublisher, StreamSettings},
    partition::Partitions,
    publisher::Publisher,
    redis::{self, RedisPublisher, RedisSource},
    source::{Room, Source, Start},
    store::Epoch,
};
use iobox_testkit::{
    broker::support::{ORIGIN, message, publish},
    servers::{Nats, Redis},
};
use tokio::task::spawn_blocking;

use super::{
    capture::Capture,
    plant::{PAYLOAD, PRIVATE, SECRET, SPECIAL, secret},
};

/// Probes and publishes with a publisher that is to be refused.
async fn refused<P: Publisher + std::fmt::Debug>(capture: &Capture, publisher: P) {
    capture.debug("publisher", &publisher);
    let publisher = Arc::new(publisher);
    capture.refused("a probe", publisher.probe().await);
    let outcomes = publish(publisher.as_ref(), &[secret("a", "orders")]).await;
    capture.debug("outcomes", &outcomes);
    assert!(outcomes[0].is_err(), "{outcomes:?}");
}

/// Lets a relay start with a publisher that is refused for ever.
async fn refused_at_start<P: Publisher>(capture: &Capture, publisher: P) {
    let store = MemoryStore::new(Partitions::DEFAULT);
    let relay = Relay::builder(store, publisher).build().expect("a relay");
    capture.refused("a start", relay.run(std::future::pending()).await);
}

/// Reads what was published, with everything that a person would be shown.
async fn read<S: Source>(capture: &Capture, source: &S) {
    capture.debug("source", source);
    source.probe().await.expect("a probe");
    let start = Start::new(None, Epoch(1), 1, Limits::default());
    let mut reader = source.open(&start).await.expect("a reader");
    let room = Room {
        messages: 10,
        bytes: 1 << 20,
        wait: Duration::from_secs(1),
    };
    let mut arrived = 0;
    while arrived == 0 {
        let batch = reader.next(room).await.expect("a batch");
        capture.debug("batch", &batch);
        arrived += batch.deliveries.len();
        reader.ack().await.expect("an ack");
    }
    reader.close().await;
}

pub(crate) async fn nats(capture: &Capture) {
    let started = spawn_blocking(|| Nats::builder().user("me", SPECIAL.0).private()).await;
    let mut server = started.expect("no panic").expect("a server");
    let address = server.url().rsplit('@').next().unwrap_or_default();
    let address = address.trim_start_matches("nats://").to_owned();
    let builder = |url: String| nats::Config::builder(url, "ORDERS");
    let with = |credentials: &str| format!("nats://{credentials}@{address}");

    let right = builder(with(&format!("me:{}", SPECIAL.1))).create_stream(StreamSettings::new());
    capture.debug("builder", &right);
    let config = right.build().expect("a configuration");
    capture.debug("configuration", &config);
    let publisher = JetStreamPublisher::new(config);
    publisher.probe().await.expect("a probe");
    let large = PAYLOAD.repeat(100_000);
    let outcomes = publish(
        &publisher,
        &[
            secret("a", "orders"),
            message(
                ORIGIN,
                "b",
                "orders",
                Some(PRIVATE),
                &[("tenant", PRIVATE)],
                large,
            ),
        ],
    )
    .await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_err(), "{outcomes:?}");
    capture.debug("outcomes", &outcomes);
    capture.debug("publisher", &publisher);

    let source = nats::SourceConfig::builder(with(&format!("me:{}", SPECIAL.1)), "ORDERS", "shop");
    capture.debug("builder", &source);
    let source = source.build().expect("a configuration");
    capture.debug("configuration", &source);
    read(capture, &nats::JetStreamSource::new(source)).await;
    let source = nats::SourceConfig::builder(with(SECRET), "ORDERS", "shop").build();
    let source = nats::JetStreamSource::new(source.expect("a configuration"));
    capture.refused("a probe", source.probe().await.map(|_| ()));

    let wrong = [
        builder(with(&format!("me:{SECRET}-wrong"))),
        builder(with(&format!("somebody:{SECRET}"))),
        builder(with(SECRET)),
        builder(format!("nats://{address}")).token(SPECIAL.0),
        builder(format!("nats://{address}")).user("somebody", SPECIAL.0),
    ];
    for builder in wrong {
        capture.debug("builder", &builder);
        let publisher =
            || JetStreamPublisher::new(builder.clone().build().expect("a configuration"));
        refused(capture, publisher()).await;
        refused_at_start(capture, publisher()).await;
    }
    server.stop().expect("a stop");
    refused(capture, publisher).await;
}

pub(crate) async fn redis(capture: &Capture) {
    let started = spawn_blocking(|| {
        let users = format!("user app on >{SECRET} ~iobox:* +xadd +info +role +config|get");
        let reader = format!("user reader on >{SECRET} ~* +@all");
        Redis::builder().setting(users).setting(reader).private()
    });
    let mut server = started.await.expect("no panic").expect("a server");
    let address = server.url().rsplit('@').next().unwrap_or_default();
    let address = address.trim_start_matches("redis://").to_owned();
    let builder = |credentials: &str| {
        redis::Config::builder(format!("redis://{credentials}@{address}")).allow_volatile(true)
    };

    let right = builder("app:s3cr3t%2DCANARY");
    capture.debug("builder", &right);
    let config = right.build().expect("a configuration");
    capture.debug("configuration", &config);
    let publisher = RedisPublisher::new(config);
    publisher.probe().await.expect("a probe");
    let outcomes = publish(&publisher, &[secret("a", "orders")]).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");

    let source = |credentials: &str| {
        let config = builder(credentials).build().expect("a configuration");
        let name = SourceName::new("canary").expect("a name");
        RedisSource::builder(config, name).topic("orders")
    };
    capture.debug("builder", &source("app:s3cr3t%2DCANARY"));
    let right = source("reader:s3cr3t%2DCANARY").build().expect("a source");
    read(capture, &right).await;
    let wrong = source(&format!("reader:{}", SPECIAL.1))
        .build()
        .expect("a source");
    capture.refused("a probe", wrong.probe().await.map(|_| ()));

    let elsewhere = builder("app:s3cr3t%2DCANARY").prefix("elsewhere:");
    let wrong = [
        elsewhere,
        builder(&format!("app:{}", SPECIAL.1)),
        builder(&format!("somebody:{SECRET}")),
    ];
    for builder in wrong {
        capture.debug("builder", &builder);
        let publisher = || RedisPublisher::new(builder.clone().build().expect("a configuration"));
        refused(capture, publisher()).await;
        refused_at_start(capture, publisher()).await;
    }
    server.stop().expect("a stop");
    refused(capture, publisher).await;
}
