//! Secrets: a password and a payload that is published are in no log, not even in that of the driver;
//! keys, the values of headers and payloads that are read are where the driver writes them at TRACE,
//! and nowhere else.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of real servers wait on the machine's clock"
)]

mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iobox_core::{
    message::Limits,
    publisher::{Publisher as _, Receipt},
    source::{Room, Source as _, Start},
    store::Epoch,
};
use iobox_nats::{Config, JetStreamPublisher, JetStreamSource, SourceConfig, StreamSettings};
use iobox_testkit::{
    broker::support::{ORIGIN, message, publish},
    servers::Nats,
};
use support::server;
use tracing_subscriber::filter::LevelFilter;

/// Stands in every place that must stay secret.
const SECRET: &str = "canary-7f3a";
/// Stands in keys, headers and what is read, which async-nats logs at TRACE.
const PRIVATE: &str = "linnet-8c41";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_hold_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let mut server = server::private(Nats::builder().user("me", SECRET)).await;
    let with_secret = server.url().replace("//", &format!("//me:{SECRET}@"));
    let config = Config::builder(&with_secret, "ORDERS").create_stream(StreamSettings::new());
    let publisher = JetStreamPublisher::new(config.build().expect("a configuration"));
    publisher.probe().await.expect("a probe");
    let headers = [("tenant", PRIVATE)];
    let large = SECRET.repeat(100_000);
    let batch = [
        message(ORIGIN, "a", "orders", Some(PRIVATE), &headers, SECRET),
        message(ORIGIN, "b", "orders", None, &headers, large),
        message(ORIGIN, "c", "read", Some(PRIVATE), &headers, PRIVATE),
    ];
    let outcomes = publish(&publisher, &batch).await;
    assert_eq!(outcomes[0], Ok(Receipt::new()));
    let refused = outcomes[1].clone().expect_err("too large");
    assert!(!refused.to_string().contains(SECRET), "{refused}");
    assert!(!refused.to_string().contains(PRIVATE), "{refused}");

    // Reading it back.
    let config = SourceConfig::builder(&with_secret, "ORDERS", "billing").topics(["read"]);
    let source = JetStreamSource::new(config.build().expect("a configuration"));
    source.probe().await.expect("a probe");
    let start = Start::new(None, Epoch(1), 1, Limits::default());
    let mut reader = source.open(&start).await.expect("a reader");
    let room = Room {
        messages: 10,
        bytes: 10_000,
        wait: Duration::from_secs(20),
    };
    let read = reader.next(room).await.expect("a batch");
    assert_eq!(read.deliveries[0].message().payload(), PRIVATE.as_bytes());
    let shown = format!("{source:?} {reader:?} {read:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(PRIVATE));
    reader.ack().await.expect("an ack");
    reader.close().await;

    // A wrong password, and a server that goes away.
    let wrong = Config::builder(server.url(), "ORDERS").user("me", format!("{SECRET}-not"));
    let stranger = JetStreamPublisher::new(wrong.build().expect("a configuration"));
    stranger.probe().await.expect_err("the wrong password");
    server.stop().expect("a stop");
    let error = publisher.probe().await.expect_err("nobody is there");
    assert!(!format!("{error:?} {publisher:?}").contains(SECRET));

    let logged = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&logged);
    assert!(text.contains("connecting to server"), "the driver logs");
    assert_eq!(text.lines().find(|line| line.contains(SECRET)), None);
    let private = text.lines().filter(|line| line.contains(PRIVATE));
    let elsewhere = private
        .filter(|line| !(line.contains(" TRACE ") && line.contains("async_nats::connection")));
    assert_eq!(elsewhere.collect::<Vec<_>>(), [""; 0]);
}
