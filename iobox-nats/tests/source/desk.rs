//! A desk: readers of one stream by direct calls, and what they brought.

use std::{net::SocketAddr, ops::Range, time::Duration};

use async_nats::jetstream::{
    consumer::pull,
    stream::{Config as StreamConfig, RetentionPolicy},
};
use iobox_core::{
    Result,
    message::{Limits, Message},
    publisher::{Publisher as _, Receipt},
    source::{Batch, Position, Reader, Room, Source as _, Start},
    store::Epoch,
};
use iobox_nats::{JetStreamPublisher, JetStreamSource, SourceConfig, SourceConfigBuilder};
use iobox_testkit::{
    broker::support::{ORIGIN, message, publish},
    servers::Nats,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{PATIENCE, place::Place, until};

/// All retention policies.
pub(crate) const RETENTIONS: [RetentionPolicy; 3] = [
    RetentionPolicy::Limits,
    RetentionPolicy::Interest,
    RetentionPolicy::WorkQueue,
];

/// Room for whatever a test has.
pub(crate) const ROOM: Room = Room {
    messages: 1_000,
    bytes: 4 * 1024 * 1024,
    wait: Duration::from_millis(200),
};

/// One stream and what reads it.
pub(crate) struct Desk {
    pub(crate) place: Place,
    pub(crate) url: String,
    publisher: JetStreamPublisher,
}

impl Desk {
    /// A desk at a new stream of this retention.
    pub(crate) async fn of(url: &str, retention: RetentionPolicy) -> Self {
        Self::with(url, |config| config.retention = retention).await
    }

    /// A desk at a new stream with other settings.
    pub(crate) async fn with(url: &str, change: impl FnOnce(&mut StreamConfig)) -> Self {
        let place = Place::with(url, change).await;
        let config = place.config().ack_timeout(PATIENCE);
        let config = config.build().expect("a configuration");
        Self {
            place,
            url: url.to_owned(),
            publisher: JetStreamPublisher::new(config),
        }
    }

    /// The settings of a source of the stream.
    pub(crate) fn config(&self) -> SourceConfigBuilder {
        self.config_at(&self.url)
    }

    /// The settings of a source that connects to another address.
    pub(crate) fn config_at(&self, url: &str) -> SourceConfigBuilder {
        SourceConfig::builder(url, &self.place.name, "billing").prefix(&self.place.name)
    }

    pub(crate) fn source(&self) -> JetStreamSource {
        source(self.config())
    }

    /// Publishes messages whose ids and payloads are their numbers.
    pub(crate) async fn publish(&self, numbers: Range<u32>) {
        let batch: Vec<Message> = numbers.map(numbered).collect();
        self.publish_all(&batch).await;
    }

    pub(crate) async fn publish_all(&self, batch: &[Message]) {
        self.publisher.probe().await.expect("a probe");
        for outcome in publish(&self.publisher, batch).await {
            assert_eq!(outcome, Ok(Receipt::new()));
        }
    }

    /// The names of the consumers that the stream has.
    pub(crate) async fn consumers(&self) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        let stream = self.place.context.get_stream(&self.place.name).await;
        let names = stream.expect("a stream").consumer_names().try_collect();
        let mut names: Vec<String> = names.await.expect("names");
        names.sort();
        names
    }

    /// Waits until every consumer has everything acked, and then until nothing is left, on a stream that
    /// drops what is acked.
    ///
    /// Servers before 2.10 that were restarted may bring back entries of an interest stream that were
    /// acked just before, and keep them although no consumer wants them; they keep some as well when
    /// consumers take turns while they are acked.
    pub(crate) async fn is_done(&self, server: &Nats) {
        let info = self.place.info().await;
        until("everything is acked", async || {
            let stream = self.place.context.get_stream(&self.place.name).await;
            let stream = stream.expect("a stream");
            for name in self.consumers().await {
                let info = stream.consumer_info(&name).await.expect("a consumer");
                if info.num_ack_pending + usize::try_from(info.num_pending).expect("few") > 0 {
                    return false;
                }
            }
            true
        })
        .await;
        let keeps = match info.config.retention {
            RetentionPolicy::Limits => true,
            RetentionPolicy::Interest => server.version().starts_with("2.9."),
            RetentionPolicy::WorkQueue => false,
        };
        if !keeps {
            self.holds(0).await;
        }
    }

    /// Makes a consumer of somebody else, which wants every entry and acks none.
    pub(crate) async fn keep(&self) {
        let config = pull::Config {
            durable_name: Some(String::from("other")),
            ..pull::Config::default()
        };
        let stream = self.place.context.get_stream(&self.place.name).await;
        let made = stream.expect("a stream").create_consumer(config).await;
        made.expect("a consumer");
    }

    /// Waits until the stream holds this many entries.
    pub(crate) async fn holds(&self, count: u64) {
        until("the stream holds what it should", async || {
            self.place.info().await.state.messages == count
        })
        .await;
    }
}

/// The message of a number.
pub(crate) fn numbered(number: u32) -> Message {
    let text = number.to_string();
    let key = (number % 7).to_string();
    message(
        ORIGIN,
        &text,
        "orders.created",
        Some(&key),
        &[],
        text.clone(),
    )
}

pub(crate) fn source(config: SourceConfigBuilder) -> JetStreamSource {
    JetStreamSource::new(config.build().expect("a configuration"))
}

pub(crate) fn start(position: Option<Position>, epoch: i64, opening: u32) -> Start {
    Start::new(position, Epoch(epoch), opening, Limits::default())
}

/// Opens a reader that must open.
pub(crate) async fn open(
    source: &JetStreamSource,
    position: Option<Position>,
    epoch: i64,
    opening: u32,
) -> Box<dyn Reader> {
    let opened = source.open(&start(position, epoch, opening)).await;
    opened.expect("a reader")
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) ids: Vec<String>,
    pub(crate) position: Option<Position>,
    pub(crate) refused: Vec<String>,
    pub(crate) lost: u64,
}

impl Read {
    /// Takes a batch as if it were stored.
    pub(crate) fn take(&mut self, batch: &Batch) {
        for delivery in &batch.deliveries {
            self.ids.push(delivery.message().id().to_string());
        }
        let places = batch.refused.iter().map(|refused| refused.place.clone());
        self.refused.extend(places);
        self.lost += batch.lost;
        if batch.position.is_some() {
            self.position.clone_from(&batch.position);
        }
    }

    /// Reads and acks until `count` messages were read in all.
    pub(crate) async fn until(&mut self, reader: &mut dyn Reader, count: usize) {
        let reading = async {
            while self.ids.len() < count {
                self.once(reader, ROOM).await.expect("a batch");
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{} of {count} messages came", self.ids.len());
    }

    /// Reads and acks one batch.
    pub(crate) async fn once(&mut self, reader: &mut dyn Reader, room: Room) -> Result<()> {
        let batch = reader.next(room).await?;
        self.take(&batch);
        if batch.is_empty() {
            return Ok(());
        }
        reader.ack().await
    }

    /// Compares what was read with numbers.
    pub(crate) fn is(&self, numbers: Range<u32>) {
        let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
        assert_eq!(self.ids, expected);
    }
}

/// Publishes bytes as they are, past every client: headers and payload, or no headers at all.
pub(crate) async fn publish_raw(
    address: SocketAddr,
    subject: &str,
    headers: Option<&[u8]>,
    payload: &[u8],
) {
    let mut line = TcpStream::connect(address).await.expect("a connection");
    let mut bytes = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    match headers {
        Some(headers) => {
            let (head, all) = (headers.len(), headers.len() + payload.len());
            bytes.extend(format!("HPUB {subject} {head} {all}\r\n").bytes());
            bytes.extend(headers);
        }
        None => bytes.extend(format!("PUB {subject} {}\r\n", payload.len()).bytes()),
    }
    bytes.extend(payload);
    bytes.extend(b"\r\nPING\r\n");
    line.write_all(&bytes).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let mut buffer = [0; 4_096];
        let count = line.read(&mut buffer).await.expect("an answer");
        assert!(count > 0, "the server hangs up");
        answer.extend(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("-ERR"), "{text}");
}

/// Checks that nothing comes any more.
pub(crate) async fn dry(reader: &mut dyn Reader) {
    let batch = reader.next(ROOM).await.expect("a batch");
    assert!(batch.is_empty() && batch.deliveries.is_empty(), "{batch:?}");
}
