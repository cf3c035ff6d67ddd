//! A stream in NATS JetStream.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::Config as StreamConfig,
};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use iobox::nats::{Config, JetStreamPublisher, JetStreamSource, SourceConfig, wire};
use iobox_testkit::servers::{Nats, unique_schema};
use tokio::task::spawn_blocking;

use super::{
    brokered::Place,
    pace::{ANSWER, CONNECT},
};
use crate::ledger::Accepted;

/// A stream, with subjects of its own.
#[derive(Debug)]
pub struct JetStream {
    name: String,
    context: jetstream::Context,
    server: Arc<Nats>,
}

#[async_trait]
impl Place for JetStream {
    type Publisher = JetStreamPublisher;
    type Source = JetStreamSource;

    const ABSORBS: bool = true;

    async fn fresh() -> Self {
        let server = spawn_blocking(Nats::shared).await.expect("no panic");
        let server = server.expect("a server");
        let client = async_nats::connect(server.url()).await;
        let context = jetstream::new(client.expect("a connection"));
        let name = unique_schema("network");
        let config = StreamConfig {
            name: name.clone(),
            subjects: vec![format!("{name}.>")],
            ..StreamConfig::default()
        };
        context.create_stream(config).await.expect("a stream");
        Self {
            name,
            context,
            server,
        }
    }

    fn address(&self) -> SocketAddr {
        let (_, address) = self.server.url().rsplit_once("//").expect("a URL");
        address.parse().expect("an address")
    }

    fn publisher(&self, at: SocketAddr) -> JetStreamPublisher {
        let config = Config::builder(format!("nats://{at}"), &self.name)
            .prefix(&self.name)
            .ack_timeout(ANSWER)
            .connect_timeout(CONNECT);
        JetStreamPublisher::new(config.build().expect("a configuration"))
    }

    fn source(&self, at: SocketAddr) -> JetStreamSource {
        let config = SourceConfig::builder(format!("nats://{at}"), &self.name, "network")
            .prefix(&self.name)
            .ack_timeout(ANSWER)
            .connect_timeout(CONNECT)
            .silence(Duration::from_secs(1));
        JetStreamSource::new(config.build().expect("a configuration"))
    }

    async fn log(&self) -> Vec<Accepted> {
        let stream = self.context.get_stream(&self.name).await.expect("a stream");
        let count = stream.cached_info().state.messages;
        let count = usize::try_from(count).expect("a count");
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let messages = consumer.messages().await.expect("messages");
        let mut messages = pin!(messages.take(count));
        let mut all = Vec::with_capacity(count);
        while let Some(message) = messages.next().await {
            let message = message.expect("a message");
            let headers = message.headers.as_ref().expect("headers");
            let text = |name: &str| {
                let value = headers.get(name)?.as_str();
                Some(wire::decode(value).expect("UTF-8").into_owned())
            };
            let id = text(wire::ID).expect("an id");
            let (_, id) = id.split_once('/').expect("an origin and an id");
            all.push(Accepted {
                id: id.to_owned(),
                key: text(wire::KEY),
            });
        }
        all
    }

    async fn remove(self) {
        let removed = self.context.delete_stream(&self.name).await;
        removed.expect("no stream is left");
    }
}
