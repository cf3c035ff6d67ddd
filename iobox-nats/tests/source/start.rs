//! What is refused at start, by which kind and with which advice.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::RetentionPolicy,
};
use iobox_core::{ErrorKind, source::Source as _};
use iobox_nats::{SourceConfig, SourceConfigBuilder};
use iobox_testkit::servers::Nats;

use crate::{
    desk::{Desk, RETENTIONS, open, source, start},
    support::server,
};

async fn refused(config: SourceConfigBuilder, kind: ErrorKind, expected: &str) {
    let source = source(config);
    let probed = source.probe().await.expect_err(expected);
    let opened = source.open(&start(None, 1, 1)).await.expect_err(expected);
    for error in [probed, opened] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?} {source:?}").contains("canary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fit_stream_is_taken() {
    let server = server::shared().await;
    for retention in RETENTIONS {
        let desk = Desk::of(server.url(), retention).await;
        desk.source().probe().await.expect("a fit stream");
        open(&desk.source(), None, 1, 1).await;
        // With a consumer of its own there, too.
        desk.source().probe().await.expect("a fit stream");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_right() {
    let invalid = ErrorKind::Invalid;
    let server = server::private(Nats::builder().user("me", "right")).await;
    let config = || SourceConfig::builder(server.url(), "ORDERS", "billing");
    refused(
        config().user("me", "canary"),
        invalid,
        "refuses the credentials",
    )
    .await;
    refused(
        config().user("me", "right"),
        invalid,
        "stream ORDERS does not exist: make it",
    )
    .await;
    let without = server::private(Nats::builder().without_jetstream()).await;
    let config = SourceConfig::builder(without.url(), "ORDERS", "billing");
    refused(config, invalid, "start the server with -js").await;
    let nobody = SourceConfig::builder("nats://127.0.0.1:1", "ORDERS", "billing")
        .connect_timeout(Duration::from_millis(500));
    refused(nobody, ErrorKind::Unavailable, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_the_subjects() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let expected = "has no subject that stock.> could match";
    refused(desk.config().prefix("stock"), ErrorKind::Invalid, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_one_consumer() {
    let server = server::shared().await;
    for retention in [RetentionPolicy::Limits, RetentionPolicy::Interest] {
        let desk = Desk::with(server.url(), |config| {
            config.retention = retention;
            config.max_consumers = 1;
        })
        .await;
        refused(desk.config(), ErrorKind::Invalid, "raise its max_consumers").await;
        let shared = source(desk.config().unordered());
        shared.probe().await.expect("one is enough for all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_of_somebody_else() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::WorkQueue).await;
    let stream = desk.place.context.get_stream(&desk.place.name).await;
    let stream = stream.expect("a stream");
    let config = pull::Config {
        durable_name: Some(String::from("theirs")),
        ack_policy: AckPolicy::Explicit,
        filter_subject: format!("{}.stock", desk.place.name),
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.expect("a consumer");
    refused(desk.config(), ErrorKind::Invalid, "its consumer theirs").await;
    refused(
        desk.config().unordered(),
        ErrorKind::Invalid,
        "its consumer theirs",
    )
    .await;
    // What nobody else reads is free.
    let config = desk.config().topics(["orders.>"]);
    open(&source(config), None, 1, 1).await.close().await;
    stream.delete_consumer("theirs").await.expect("a deletion");
    let other_order = desk.config().unordered().topics(["orders.>"]);
    let opened = source(other_order).open(&start(None, 0, 1)).await;
    let error = opened.expect_err("it is read in order").to_string();
    assert!(error.contains("work queue"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_need_a_server_that_knows_them() {
    let server = server::shared().await;
    let desk = Desk::of(server.url(), RetentionPolicy::Limits).await;
    let config = || desk.config().topics(["orders.>", "stock"]);
    if server.version().starts_with("2.9.") {
        refused(config(), ErrorKind::Invalid, "2.10").await;
        return;
    }
    let source = source(config());
    source.probe().await.expect("a fit stream");
    let mut reader = open(&source, None, 1, 1).await;
    desk.publish(0..10).await;
    let mut read = crate::desk::Read::default();
    read.until(reader.as_mut(), 10).await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_do_not_touch_each_other() {
    let server = server::shared().await;
    for retention in [RetentionPolicy::Limits, RetentionPolicy::Interest] {
        let desk = Desk::of(server.url(), retention).await;
        let theirs = SourceConfig::builder(server.url(), &desk.place.name, "shipping");
        let theirs = source(theirs.prefix(&desk.place.name));
        let mut one = open(&theirs, None, 1, 1).await;
        let mut other = open(&desk.source(), None, 7, 1).await;
        desk.publish(0..10).await;
        for reader in [&mut one, &mut other] {
            let mut read = crate::desk::Read::default();
            read.until(reader.as_mut(), 10).await;
            read.is(0..10);
        }
    }
}
