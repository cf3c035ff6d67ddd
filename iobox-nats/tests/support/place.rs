//! A place to publish to: one stream, with a prefix of its own, and a reader past the publisher.

use std::{pin::pin, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::{Config as StreamConfig, Info},
};
use futures_util::StreamExt as _;
use iobox_nats::{Config, ConfigBuilder, wire};
use iobox_testkit::{broker::Stored, servers::unique_schema};

/// One stream and what stands in it.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) context: jetstream::Context,
    url: String,
}

impl Place {
    /// Makes an empty stream on the server at `url`.
    pub(crate) async fn at(url: &str) -> Self {
        Self::with(url, |_| {}).await
    }

    /// Makes an empty stream with other settings.
    pub(crate) async fn with(url: &str, change: impl FnOnce(&mut StreamConfig)) -> Self {
        let place = Self::without_stream(url).await;
        let mut config = StreamConfig {
            name: place.name.clone(),
            subjects: vec![format!("{}.>", place.name)],
            ..StreamConfig::default()
        };
        change(&mut config);
        place.make(config).await;
        place
    }

    /// A name and a prefix, and no stream.
    pub(crate) async fn without_stream(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("a connection");
        Self {
            name: unique_schema("place"),
            context: jetstream::new(client),
            url: url.to_owned(),
        }
    }

    /// Makes the stream.
    pub(crate) async fn make(&self, config: StreamConfig) {
        self.context.create_stream(config).await.expect("a stream");
    }

    /// The settings of a publisher to it.
    pub(crate) fn config(&self) -> ConfigBuilder {
        self.config_at(&self.url)
    }

    /// The settings of a publisher to it that connects to another address.
    pub(crate) fn config_at(&self, url: &str) -> ConfigBuilder {
        Config::builder(url, &self.name).prefix(&self.name)
    }

    /// What the server says of the stream.
    pub(crate) async fn info(&self) -> Info {
        let stream = self.context.get_stream(&self.name).await;
        stream.expect("a stream").cached_info().clone()
    }

    /// Everything in the stream, in its order.
    pub(crate) async fn raw(&self) -> Vec<jetstream::Message> {
        let count = self.info().await.state.messages;
        let count = usize::try_from(count).expect("a count");
        if count == 0 {
            return Vec::new();
        }
        let stream = self.context.get_stream(&self.name).await.expect("a stream");
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let messages = consumer
            .stream()
            .max_messages_per_batch(1_000)
            .expires(Duration::from_secs(30))
            .messages()
            .await;
        let mut messages = pin!(messages.expect("messages").take(count));
        let mut all = Vec::with_capacity(count);
        while let Some(message) = messages.next().await {
            all.push(message.expect("a message"));
        }
        all
    }

    /// Everything in the stream, as it was published.
    pub(crate) async fn stored(&self) -> Vec<Stored> {
        let raw = self.raw().await;
        raw.iter().map(|message| self.read(message)).collect()
    }

    fn read(&self, message: &jetstream::Message) -> Stored {
        let headers = message.headers.as_ref().expect("headers");
        let text = |name: &str| headers.get(name.parse::<async_nats::HeaderName>().ok()?);
        let decoded = |text: &str| wire::decode(text).expect("UTF-8").into_owned();
        let id = text(wire::ID).expect("an id").as_str();
        assert_eq!(text(wire::MESSAGE_ID).map(|id| id.as_str()), Some(id));
        let (origin, id) = id.split_once('/').expect("an origin and an id");
        let encoded: Vec<&str> = text(wire::ENCODED)
            .map(|names| names.as_str().split(',').collect())
            .unwrap_or_default();
        let own = [wire::ID, wire::MESSAGE_ID, wire::KEY, wire::ENCODED];
        let mut given = Vec::new();
        for (name, values) in headers.iter() {
            let name = name.to_string();
            if own.contains(&name.as_str()) {
                continue;
            }
            let value = values[0].as_str();
            let value = if encoded.contains(&name.as_str()) {
                decoded(value)
            } else {
                value.to_owned()
            };
            given.push((name, value));
        }
        let subject = message.subject.as_str();
        let topic = subject.strip_prefix(&format!("{}.", self.name));
        Stored {
            origin: origin.to_owned(),
            id: decoded(id),
            topic: topic.expect("the prefix").to_owned(),
            key: text(wire::KEY).map(|key| decoded(key.as_str())),
            headers: given,
            payload: message.payload.to_vec(),
        }
    }
}
